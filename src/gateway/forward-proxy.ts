import { BlockList, isIP } from 'node:net';
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
  /** Where it comes from. */
  readonly variable: 'HTTPS_PROXY' | 'HTTP_PROXY';
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

/** The proxy for a connection, or undefined for a direct one. Loopback is always direct, as in Go. Throws a UsageError. */
export function forwardProxyFor(
  target: { hostname: string; port: number; secure: boolean },
  settings: ForwardProxySettings,
): ForwardProxy | undefined {
  const proxy = target.secure ? settings.httpsProxy : settings.httpProxy;
  if (proxy === undefined || isLoopback(target.hostname) || isExempt(target, settings.noProxy ?? '')) return undefined;
  return readProxy(proxy, target.secure ? 'HTTPS_PROXY' : 'HTTP_PROXY');
}

/** Throws a UsageError for a proxy that could never be used; Google is reached over TLS alone. */
export function assertProxyUsable({ httpsProxy }: ForwardProxySettings): void {
  if (httpsProxy !== undefined) readProxy(httpsProxy, 'HTTPS_PROXY');
}

function readProxy(proxy: string, variable: ForwardProxy['variable']): ForwardProxy {
  const text = proxy.includes('://') ? proxy : `http://${proxy}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    // Its value may hold a password.
    throw new UsageError(
      `${variable} is set to something that is not an http:// or https:// proxy URL; set it to http://HOST:PORT or unset it`,
      { code: 'proxy-malformed' },
    );
  }
  const secure = url.protocol === 'https:';
  const user = url.username === '' ? undefined : `${decoded(url.username)}:${decoded(url.password)}`;
  return {
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    secure,
    variable,
    ...(user === undefined ? {} : { authorization: `Basic ${Buffer.from(user).toString('base64')}` }),
  };
}

/** A percent sign that nobody has escaped stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '::1' || (isIP(hostname) === 4 && hostname.startsWith('127.'));
}

/** Entries are names (with all below them), addresses, networks in CIDR form or `*`, each with a port if need be. */
function isExempt(target: { hostname: string; port: number }, noProxy: string): boolean {
  const hostname = target.hostname.toLowerCase();
  return noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const { host, port } = takeApart(entry);
      if (port !== undefined && port !== target.port) return false;
      if (isIP(hostname) !== 0) return covers(host, hostname);
      const name = host.replace(/^\*?\./, '');
      return hostname === name || hostname.endsWith(`.${name}`);
    });
}

function takeApart(entry: string): { host: string; port?: number } {
  const bracketed = /^\[(.+)\](?::(\d+))?$/.exec(entry);
  // An address of IPv6 without brackets has colons of its own.
  const match = bracketed ?? (/:.*:/.test(entry) ? undefined : /^([^:]+):(\d+)$/.exec(entry));
  const [, host = entry, port] = match ?? [];
  return port === undefined ? { host } : { host, port: Number(port) };
}

/** Whether an address is, or is in, what an entry names; they may be spelled differently. */
function covers(entry: string, address: string): boolean {
  const [base = '', bits] = entry.split('/');
  const version = isIP(base);
  if (version === 0 || version !== isIP(address)) return false;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const most = version === 4 ? 32 : 128;
  if (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= most)) return false;
  const list = new BlockList();
  list.addSubnet(base, bits === undefined ? most : Number(bits), family);
  return list.check(address, family);
}
