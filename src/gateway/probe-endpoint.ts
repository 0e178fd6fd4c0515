import { lookup } from 'node:dns/promises';
import * as http from 'node:http';
import * as net from 'node:net';
import * as tls from 'node:tls';
import type { Clock } from '../base/clock.js';
import { CodedError, describeError, systemCode } from '../base/errors.js';
import { upstreamAddress } from './address.js';
import { createDialer } from './dial.js';
import { type ForwardProxySettings, forwardProxyFor } from './forward-proxy.js';

/** The stages of a connection, in their order. `certificate`: all is well but for the trust in it. */
export type ProbeStage = 'proxy-settings' | 'name' | 'proxy' | 'connect' | 'tls' | 'certificate' | 'answer';

/** How far a connection to one of Google's endpoints gets. */
export interface EndpointProbe {
  /** As the Host header carries it. */
  readonly host: string;
  /** `host:port` of the forward proxy on the way. */
  readonly proxy?: string;
  readonly failure?: { readonly stage: ProbeStage; readonly code: string; readonly message: string };
  /** Who has signed the endpoint's certificate. */
  readonly issuer?: string;
  /** How far this machine's clock is ahead of the endpoint's, in ms; HTTP tells whole seconds. */
  readonly clockAheadMs?: number;
}

/**
 * Connects stage by stage until the signal aborts. No certificate is trusted and no credential sent: a wrong clock, which
 * makes certificates look bad, can be told from a bad certificate. Never rejects.
 */
export async function probeEndpoint(
  url: string,
  options: { proxy: ForwardProxySettings; secureContext: tls.SecureContext; clock: Clock; signal: AbortSignal },
): Promise<EndpointProbe> {
  const address = upstreamAddress(url);
  const { hostname, port, secure, host } = address;
  const { signal, clock, secureContext } = options;
  let stage: ProbeStage = 'proxy-settings';
  let told: EndpointProbe = { host };
  let socket: net.Socket | undefined;
  try {
    const proxy = forwardProxyFor(address, options.proxy);
    if (proxy === undefined) {
      stage = 'name';
      await within(lookup(hostname), signal);
      stage = 'connect';
    } else {
      told = { ...told, proxy: `${proxy.hostname}:${proxy.port}` };
      stage = 'proxy';
    }
    // The tunnel that TLS would take, without TLS.
    const { httpsProxy, httpProxy, noProxy } = options.proxy;
    const way = secure ? httpsProxy : httpProxy;
    const dialer = createDialer({
      secureContext,
      proxy: { ...(way === undefined ? {} : { httpProxy: way }), ...(noProxy === undefined ? {} : { noProxy }) },
    });
    socket = await dialer.dial({ hostname, port, secure: false }, signal);
    if (secure) {
      stage = 'tls';
      const secured = await startTls(socket, { hostname, secureContext, signal });
      socket = secured;
      const issuer = issuerOf(secured);
      told = { ...told, ...(issuer === undefined ? {} : { issuer }) };
      if (!secured.authorized) {
        const code = String(secured.authorizationError);
        told = { ...told, failure: { stage: 'certificate', code, message: code } };
      }
    }
    stage = 'answer';
    const asked = clock.now();
    const date = await askForDate(socket, host, signal);
    const middle = (asked + clock.now()) / 2;
    return Number.isNaN(date) ? told : { ...told, clockAheadMs: Math.round(middle - date) };
  } catch (error) {
    if (told.failure !== undefined) return told;
    if (signal.aborted) return { ...told, failure: { stage, code: 'ETIMEDOUT', message: 'no answer in time' } };
    const code = systemCode(error) ?? (error instanceof CodedError ? error.code : 'unknown');
    return { ...told, failure: { stage, code, message: describeError(error) } };
  } finally {
    socket?.on('error', () => {}).destroy();
  }
}

function startTls(
  socket: net.Socket,
  o: { hostname: string; secureContext: tls.SecureContext; signal: AbortSignal },
): Promise<tls.TLSSocket> {
  const { hostname, secureContext, signal } = o;
  const secured = tls.connect({
    socket,
    rejectUnauthorized: false,
    secureContext,
    ALPNProtocols: ['http/1.1'],
    host: hostname,
    ...(net.isIP(hostname) === 0 ? { servername: hostname } : {}),
  });
  return within(
    new Promise((resolve, reject) => {
      secured.once('secureConnect', () => resolve(secured)).once('error', reject);
      secured.once('close', () =>
        reject(Object.assign(new Error('the connection was closed in the TLS handshake'), { code: 'ECONNRESET' })),
      );
    }),
    signal,
  );
}

function issuerOf(socket: tls.TLSSocket): string | undefined {
  const { issuer } = socket.getPeerCertificate();
  // Absent where the peer has shown none.
  const names = issuer as Partial<tls.Certificate> | undefined;
  const text = [names?.CN, names?.O].filter((name) => typeof name === 'string').join(', ');
  return text === '' ? undefined : text;
}

/** ms since the epoch; NaN where the answer does not say. */
function askForDate(socket: net.Socket, host: string, signal: AbortSignal): Promise<number> {
  return within(
    new Promise((resolve, reject) => {
      const request = http.request({
        createConnection: () => socket,
        method: 'HEAD',
        path: '/',
        headers: { Host: host, Connection: 'close' },
      });
      request.once('error', reject);
      request.once('response', (response) => {
        response.resume();
        resolve(Date.parse(response.headers.date ?? ''));
      });
      request.end();
    }),
    signal,
  );
}

function within<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
