import { timingSafeEqual } from 'node:crypto';
import { CodedError } from '../base/errors.js';
import type { FlatHeaders } from '../base/flat-headers.js';
import { headerValue, headerValues } from '../base/flat-headers.js';

/**
 * Refuses what a web page could send by DNS rebinding or a cross-site request: a Host that is not loopback, an Origin
 * that is not this endpoint, a Sec-Fetch-Site that says another site asked. Throws a CodedError (403, or 400 without
 * exactly one Host).
 */
export function assertLocalCaller(headers: FlatHeaders): void {
  const hosts = headerValues(headers, 'host');
  const host = hosts[0];
  if (hosts.length !== 1 || host === undefined) {
    throw refusal('host-missing', 400, 'BadRequest', 'exactly one Host header is needed');
  }
  if (!LOOPBACK_HOST.test(host)) {
    throw refusal(
      'host-not-local',
      403,
      'Forbidden',
      `the Host ${JSON.stringify(host)} is not this machine: use the server URL of the kubeconfig that the daemon wrote`,
    );
  }
  const origin = headerValue(headers, 'origin');
  if (origin !== undefined && !isOriginOf(host, origin)) {
    throw refusal('origin-foreign', 403, 'Forbidden', 'requests from web pages of other origins are refused');
  }
  const site = headerValue(headers, 'sec-fetch-site');
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    throw refusal('fetch-cross-site', 403, 'Forbidden', 'cross-site requests of a browser are refused');
  }
}

/** Throws a CodedError (401) unless exactly one Authorization header carries one of `tokens`. */
export function assertLocalCredential(headers: FlatHeaders, tokens: readonly string[]): void {
  const values = headerValues(headers, 'authorization');
  if (values.length === 0) {
    throw refusal(
      'credential-missing',
      401,
      'Unauthorized',
      'no bearer token: use the kubeconfig that the daemon wrote (connect-gateway-proxy kubeconfig), which needs no auth plugin',
    );
  }
  const match = values.length === 1 ? BEARER.exec(values[0] ?? '') : null;
  const given = match?.[1];
  // Every candidate is compared, so that the time taken tells nothing.
  const accepted = given !== undefined && tokens.map((token) => equalInConstantTime(given, token)).includes(true);
  if (!accepted) {
    throw refusal(
      'credential-wrong',
      401,
      'Unauthorized',
      'this bearer token is not the one of this endpoint: write the kubeconfig anew with connect-gateway-proxy kubeconfig',
    );
  }
}

export function equalInConstantTime(given: string, expected: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(expected);
  return a.length === b.length && timingSafeEqual(a, b);
}

/**
 * The Python client's WebSockets carry an Origin of their own making, with http even to a TLS port; no page can have
 * that origin, since such a port speaks nothing but TLS.
 */
function isOriginOf(host: string, origin: string): boolean {
  const own = host.toLowerCase();
  return [`https://${own}`, `http://${own}`].includes(origin.toLowerCase());
}

const BEARER = /^bearer +([^\s]+)$/i;
const LOOPBACK_HOST = /^(?:localhost|\[::1\]|127\.\d{1,3}\.\d{1,3}\.\d{1,3})(?::\d+)?$/i;

function refusal(code: string, status: number, reason: string, message: string): CodedError {
  return new CodedError({ code, message: `connect-gateway-proxy: ${message}`, answer: { status, reason } });
}
