import type { IncomingMessage, ServerResponse } from 'node:http';
import * as https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { CertificatePair } from '../base/certificates.js';
import { CodedError, systemCode } from '../base/errors.js';
import { failureStatus } from '../kubernetes/status.js';

export interface ListenerHandlers {
  /** `expectsContinue`: the client waits for 100 before it sends its body. */
  request(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

/** One loopback HTTPS endpoint, HTTP/1.1 (upgrades exist nowhere else, and kubectl is content with it). */
export interface Listener {
  readonly port: number;
  /** The socket stays open without us: new connections wait for our successor instead of being refused. */
  readonly inherited: boolean;
  /** No new connections; idle ones are closed; resolves when the last one has ended. */
  close(): Promise<void>;
  /** Nothing is served here any more. */
  retire(): Promise<void>;
  /** Ends every connection at once. */
  destroy(): void;
  useCertificate(pair: CertificatePair): void;
}

/** Ours, not Google's: large enough to answer an over-long header with a Status that names it. */
const MAX_HEADER_BYTES = 64 * 1024;
const SWEEP_MS = 50;
/** Of an inherited socket: all that connect during a restart wait in it. The kernel cuts it to its own limit. */
const INHERITED_BACKLOG = 4096;

/** Rejects with a CodedError `port-taken` or `port-unusable`. */
export function listen(options: {
  address: string;
  port: number;
  /** A socket that listens already, in place of address and port. */
  fd?: number;
  certificate: CertificatePair;
  handlers: ListenerHandlers;
}): Promise<Listener> {
  const server = https.createServer({
    cert: options.certificate.certificate,
    key: options.certificate.privateKey,
    ALPNProtocols: ['http/1.1'],
    minVersion: 'TLSv1.2',
    maxHeaderSize: MAX_HEADER_BYTES,
    noDelay: true,
    // A watch's or an upload's length is its own business; only the head has a deadline.
    requestTimeout: 0,
    headersTimeout: 60_000,
    // Longer than the 90 s after which kubectl and client-go drop an idle connection, so that they close first.
    keepAliveTimeout: 100_000,
  });
  const sockets = new Set<Duplex>();
  server.on('connection', (socket: Duplex) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('request', (request, response) => options.handlers.request(request, response, false));
  server.on('checkContinue', (request, response) => options.handlers.request(request, response, true));
  server.on('upgrade', (request, socket, head) => {
    // First of all: a client that resets before upstream has answered must not end the process.
    socket.on('error', () => {});
    options.handlers.upgrade(request, socket, head);
  });
  server.on('connect', (_request, socket) => {
    socket.on('error', () => {});
    refuseRaw(socket, 405, 'MethodNotAllowed', 'CONNECT is not supported: this endpoint is no forward proxy');
  });
  server.on('clientError', (error, socket) => {
    // The rest of an over-long head is an error again, while the answer to the first is on its way.
    if (socket.writableEnded) return;
    const code = systemCode(error);
    if (code === 'HPE_HEADER_OVERFLOW') {
      refuseRaw(socket, 431, 'RequestHeaderFieldsTooLarge', `the request's headers exceed ${MAX_HEADER_BYTES} bytes`);
    } else if (code?.startsWith('HPE_')) {
      refuseRaw(socket, 400, 'BadRequest', `malformed HTTP request (${code})`);
    } else {
      socket.destroy();
    }
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(portError(error, options)));
    const close = (): Promise<void> =>
      new Promise((closed) => {
        // Node keeps a connection whose last request ends after `close` open for its keep-alive time.
        const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS);
        server.close(() => {
          clearInterval(sweep);
          closed();
        });
        server.closeIdleConnections();
      });
    const onListening = (): void => {
      resolve({
        port: (server.address() as AddressInfo).port,
        inherited: options.fd !== undefined,
        close,
        retire: close,
        destroy: () => {
          server.close();
          for (const socket of sockets) socket.destroy();
        },
        useCertificate: (pair) => server.setSecureContext({ cert: pair.certificate, key: pair.privateKey }),
      });
    };
    // With a descriptor Node takes the backlog from the second argument alone.
    if (options.fd !== undefined) server.listen({ fd: options.fd }, INHERITED_BACKLOG, onListening);
    else server.listen({ host: options.address, port: options.port }, onListening);
  });
}

function refuseRaw(socket: Duplex, code: number, reason: string, message: string): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify(failureStatus({ code, reason, message: `connect-gateway-proxy: ${message}` }));
  socket.end(
    `HTTP/1.1 ${code} ${reason}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function portError(error: unknown, endpoint: { address: string; port: number }): CodedError {
  const code = systemCode(error);
  const where = `${endpoint.address}:${endpoint.port}`;
  return new CodedError({
    code: code === 'EADDRINUSE' ? 'port-taken' : 'port-unusable',
    message:
      code === 'EADDRINUSE'
        ? `port ${where} is taken by another program`
        : `cannot listen on ${where}: ${code ?? String(error)}`,
    cause: error,
  });
}
