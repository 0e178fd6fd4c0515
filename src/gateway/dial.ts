import * as http from 'node:http';
import * as https from 'node:https';
import * as net from 'node:net';
import * as tls from 'node:tls';
import { CodedError, describeError } from '../base/errors.js';
import type { UpstreamAddress } from './address.js';
import type { ForwardProxy, ForwardProxySettings } from './forward-proxy.js';
import { forwardProxyFor } from './forward-proxy.js';

/** Opens connections to upstream hosts: direct or through HTTPS_PROXY, with the extra CA where one is configured. */
export interface Dialer {
  /** Resolves with a connected (for TLS: verified) socket. Rejects with the network's error, or the signal's reason. */
  dial(target: DialTarget, signal: AbortSignal): Promise<net.Socket>;
}

export interface DialTarget extends Pick<UpstreamAddress, 'hostname' | 'port' | 'secure'> {
  /** What TLS offers by ALPN, the preferred first; HTTP/1.1 alone where it is not said. */
  readonly protocols?: readonly string[];
  /**
   * Takes what is read in place of the socket's `data`, in memory that is lent for the call: memory of their own for all
   * that bodies are made of makes V8 collect the whole heap every 64 MiB. A connection through a proxy's tunnel, which
   * cannot, says `data` all the same.
   */
  readonly lend?: (bytes: Buffer) => void;
}

/** What libuv reads at most at a time. Reads follow each other, so that one place serves all connections. */
const LENT = Buffer.allocUnsafeSlow(64 * 1024);

/** Trusts the public authorities, and `extraCa` (PEM; see `endpoints.caFile`) besides. Costs tens of ms with one. */
export function trustIn(extraCa?: string): tls.SecureContext {
  return tls.createSecureContext(extraCa === undefined ? {} : { ca: [...tls.rootCertificates, extraCa] });
}

export function createDialer(options: {
  /** PEM certificates trusted besides the public ones; see `endpoints.caFile`. */
  extraCa?: string;
  /** In place of both: whom to trust instead. */
  secureContext?: tls.SecureContext;
  proxy: ForwardProxySettings;
}): Dialer {
  // One context for all connections: building one costs milliseconds, and TLS session resumption lives in it.
  const { secureContext = trustIn(options.extraCa) } = options;
  const sessions = new Map<string, Buffer>();
  return {
    async dial(address, signal) {
      signal.throwIfAborted();
      const proxy = forwardProxyFor(address, options.proxy);
      const tunnel = proxy === undefined ? undefined : await connectThrough(proxy, address, signal);
      const way = {
        host: address.hostname,
        port: address.port,
        ...(address.lend === undefined ? {} : { onread: lending(address.lend) }),
      };
      if (!address.secure) return tunnel ?? (await ready(net.connect(way), 'connect', signal));
      const key = `${address.hostname}:${address.port}`;
      const session = sessions.get(key);
      const socket = tls.connect({
        ...way,
        ...(tunnel === undefined ? {} : { socket: tunnel }),
        ...(session === undefined ? {} : { session }),
        secureContext,
        ALPNProtocols: [...(address.protocols ?? ['http/1.1'])],
        ...(net.isIP(address.hostname) === 0 ? { servername: address.hostname } : {}),
      });
      socket.on('session', (ticket) => sessions.set(key, ticket));
      tunnel?.on('error', (error) => socket.destroy(error));
      return await ready(socket, 'secureConnect', signal);
    },
  };
}

function lending(lend: (bytes: Buffer) => void): net.OnReadOpts {
  return {
    buffer: LENT,
    callback: (count) => {
      lend(LENT.subarray(0, count));
      return true;
    },
  };
}

function ready(socket: net.Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const settle = (error?: unknown): void => {
      socket.off(event, onReady).off('error', settle).off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      // An error while nobody listens must not become an uncaught exception; whoever owns the socket hears of its close.
      socket.on('error', () => {});
      if (error === undefined) {
        keepAlive(socket);
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(error);
    };
    const onReady = (): void => settle();
    const onClose = (): void =>
      settle(Object.assign(new Error('the connection was closed while it was being set up'), { code: 'ECONNRESET' }));
    const onAbort = (): void => settle(signal.reason);
    socket.once(event, onReady).once('error', settle).once('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** With libuv's ten probes a second apart, a peer that is gone is found out within 30 s, whatever this process does. */
function keepAlive(socket: net.Socket): void {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, 15_000);
}

function connectThrough(
  proxy: ForwardProxy,
  target: { hostname: string; port: number },
  signal: AbortSignal,
): Promise<net.Socket> {
  const authority = `${net.isIP(target.hostname) === 6 ? `[${target.hostname}]` : target.hostname}:${target.port}`;
  const request = (proxy.secure ? https : http).request({
    host: proxy.hostname,
    port: proxy.port,
    method: 'CONNECT',
    path: authority,
    agent: false,
    signal,
    headers: {
      Host: authority,
      ...(proxy.authorization === undefined ? {} : { 'Proxy-Authorization': proxy.authorization }),
    },
  });
  const name = `the proxy ${proxy.hostname}:${proxy.port} (${proxy.variable})`;
  return new Promise((resolve, reject) => {
    request.once('error', (error) => {
      if (signal.aborted) reject(signal.reason);
      else reject(proxyFailure(`${name} cannot be reached: ${describeError(error)}`, error));
    });
    request.once('connect', (response, socket, head) => {
      const status = response.statusCode ?? 0;
      if (status >= 200 && status < 300) {
        if (head.length > 0) socket.unshift(head);
        socket.on('error', () => {});
        keepAlive(socket as net.Socket);
        return resolve(socket as net.Socket);
      }
      socket.destroy();
      const hint =
        status === 407 ? `put user and password into ${proxy.variable}` : `check ${proxy.variable} and NO_PROXY`;
      reject(proxyFailure(`${name} refused a tunnel to ${authority} with HTTP ${status}; ${hint}`));
    });
    // Some proxies refuse a tunnel in a form that is no answer to CONNECT for Node.
    request.once('response', (response) => {
      response.destroy();
      reject(proxyFailure(`${name} does not tunnel: it answered HTTP ${response.statusCode}; check ${proxy.variable}`));
    });
    request.end();
  });
}

function proxyFailure(message: string, cause?: unknown): CodedError {
  return new CodedError({
    code: cause === undefined ? 'proxy-refused' : 'proxy-unreachable',
    message,
    retry: 'later',
    cause,
    answer: { status: 502, reason: 'BadGateway' },
  });
}
