import { isIP } from 'node:net';
import { UsageError } from '../base/errors.js';

/** HTTPS_PROXY, HTTP_PROXY and NO_PROXY as curl, Go and gcloud read them. */
export interface ForwardProxySettings {
  readonly httpsProxy?: string;
  readonly httpProxy?: string;
  readonly noProxy?: string;
}

export interface ForwardProxy {
  readonly hostname: string;
  readonly port: number;
  readonly secure: boolean;
  /** Value of Proxy-Authorization, when the proxy URL carries a user. */
  readonly authorization?: string;
}

/** Lower case names win over upper case ones, as in curl. */
export function forwardProxySettings(env: Readonly<Record<string, string | undefined>>): ForwardProxySettings {
  const pick = (name: string): string | undefined => env[name] || env[name.toUpperCase()] || undefined;
  const httpsProxy = pick('https_proxy');
  const httpProxy = pick('http_proxy');
  const noProxy = pick('no_proxy');
  return {
    ...(httpsProxy === undefined ? {} : { httpsProxy }),
    ...(httpProxy === undefined ? {} : { httpProxy }),
    ...(noProxy === undefined ? {} : { noProxy }),
  };
}

/** The proxy for a connection, or undefined for a direct one. Loopback is always direct, as in Go. */
export function forwardProxyFor(
  target: { hostname: string; port: number; secure: boolean },
  settings: ForwardProxySettings,
): ForwardProxy | undefined {
  const proxy = target.secure ? settings.httpsProxy : settings.httpProxy;
  if (proxy === undefined || isLoopback(target.hostname) || isExempt(target, settings.noProxy ?? '')) return undefined;
  const text = proxy.includes('://') ? proxy : `http://${proxy}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new UsageError(
      `HTTPS_PROXY is set to something that is not an http:// or https:// proxy URL; set it to http://HOST:PORT or unset it`,
      { code: 'proxy-malformed' },
    );
  }
  const secure = url.protocol === 'https:';
  const user =
    url.username === '' ? undefined : `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return {
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    secure,
    ...(user === undefined ? {} : { authorization: `Basic ${Buffer.from(user).toString('base64')}` }),
  };
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '::1' || (isIP(hostname) === 4 && hostname.startsWith('127.'));
}

function isExempt(target: { hostname: string; port: number }, noProxy: string): boolean {
  const hostname = target.hostname.toLowerCase();
  return noProxy
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const match = /^(.*?)(?::(\d+))?$/.exec(entry.toLowerCase());
      const pattern = (match?.[1] ?? '').replace(/^\*?\./, '');
      if (match?.[2] !== undefined && Number(match[2]) !== target.port) return false;
      return hostname === pattern || hostname.endsWith(`.${pattern}`);
    });
}
