import type { IncomingMessage, ServerResponse } from 'node:http';
import * as http from 'node:http';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CodedError, systemCode } from '../base/errors.js';
import { shortId } from '../base/short-id.js';
import { statusOfError } from '../kubernetes/status.js';
import { answerRequest, answerUpgrade, type OwnAnswer, ownAnswer } from '../relays/failure-answer.js';
import { declinesUpgrade, withoutUpgrade } from './declined-upgrade.js';
import type { ServerTls } from './server-tls.js';
import { Turns } from './turns.js';

export interface ListenerHandlers {
  /** `askForBody`: the client waits for it before it sends its body (`Expect: 100-continue`). */
  request(request: IncomingMessage, response: ServerResponse, askForBody?: () => void): void;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

/** One loopback endpoint, HTTP/1.1 (upgrades exist nowhere else, and kubectl is content with it). */
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
}

export interface ListenOptions {
  readonly address: string;
  readonly port: number;
  /** A socket that listens already, in place of address and port. */
  readonly fd?: number;
  /** Without one it is plain HTTP. */
  readonly tls?: ServerTls;
  readonly handlers: ListenerHandlers;
}

/** Ours, not Google's: large enough to answer an over-long header with a Status that names it. */
const MAX_HEADER_BYTES = 64 * 1024;
const SWEEP_MS = 50;
/**
 * All that connect in one turn of the event loop wait in it, and with an inherited socket all that connect during a restart:
 * tools of hundreds of watches open them at once. Of what does not fit (Node's own is 511) the kernel lets some wait for a
 * second and resets some. It cuts this to its own limit.
 */
const BACKLOG = 4096;

const SERVER_OPTIONS = {
  maxHeaderSize: MAX_HEADER_BYTES,
  noDelay: true,
  // A watch's or an upload's length is its own business; only the head has a deadline.
  requestTimeout: 0,
  headersTimeout: 60_000,
  // Longer than the 90 s after which kubectl and client-go drop an idle connection, so that they close first.
  keepAliveTimeout: 100_000,
} as const;

/** Rejects with a CodedError `port-taken` or `port-unusable`. */
export function listen(options: ListenOptions): Promise<Listener> {
  const { tls } = options;
  const server = http.createServer(SERVER_OPTIONS);
  // Node drops in silence what exceeds a count: an Impersonate-User, say.
  server.maxHeadersCount = 0;
  const sockets = new Set<Socket>();
  const speakHttp = ownConnectionListener(server);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    speakHttp(tls === undefined ? socket : tls.encrypt(socket));
  });
  const turns = new Turns();
  serve(server, turns, options.handlers, speakHttp);
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(portError(error, options)));
    const closeIdle = (): void => {
      // Node takes a connection for idle whose client has yet to read the rest of an answer that is whole.
      if (!turns.isSending) server.closeIdleConnections();
    };
    const close = (): Promise<void> =>
      new Promise((closed) => {
        // Node keeps a connection whose last request ends after `close` open for its keep-alive time.
        const sweep = setInterval(closeIdle, SWEEP_MS);
        // Not the HTTP server's own: that would close what it takes for idle.
        NetServer.prototype.close.call(server, () => {
          clearInterval(sweep);
          // What else it has running.
          server.close();
          closed();
        });
        closeIdle();
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
      });
    };
    // With a descriptor Node takes the backlog from the second argument alone.
    if (options.fd !== undefined) server.listen({ fd: options.fd }, BACKLOG, onListening);
    else server.listen({ host: options.address, port: options.port, backlog: BACKLOG }, onListening);
  });
}

/** What the server itself does with a connection, from now on only where it is called. */
function ownConnectionListener(server: http.Server): (socket: Duplex) => void {
  const [listener] = server.listeners('connection');
  server.removeAllListeners('connection');
  return (socket) => void listener?.call(server, socket);
}

/** `readAgain`: takes a socket as if it had just connected. */
function serve(
  server: http.Server,
  turns: Turns,
  handlers: ListenerHandlers,
  readAgain: (socket: Duplex) => void,
): void {
  server.on('request', (request, response) => turns.take(response, () => handlers.request(request, response)));
  server.on('checkContinue', (request, response) => {
    // Whoever is answered before it was asked for its body may send it or not: the next request needs a new connection.
    const { shouldKeepAlive } = response;
    response.shouldKeepAlive = false;
    const askForBody = (): void => {
      response.shouldKeepAlive = shouldKeepAlive;
      response.writeContinue();
    };
    turns.take(response, () => handlers.request(request, response, askForBody));
  });
  server.on('checkExpectation', (request, response) => {
    response.shouldKeepAlive = false;
    const answer = refusal(
      417,
      'ExpectationFailed',
      `nothing but 100-continue can be expected, not ${request.headers.expect}`,
    );
    turns.take(response, () => answerRequest(response, answer, shortId()));
  });
  server.on('upgrade', (request, socket, head) => {
    // First of all: a client that resets before upstream has answered must not end the process.
    socket.on('error', () => {});
    if (declinesUpgrade(request)) {
      socket.unshift(Buffer.concat([withoutUpgrade(request), head]));
      readAgain(socket);
      return;
    }
    turns.afterPrevious(socket, () => handlers.upgrade(request, socket, head));
  });
  server.on('connect', (_request, socket) => {
    socket.on('error', () => {});
    const answer = refusal(405, 'MethodNotAllowed', 'CONNECT is not supported: this endpoint is no forward proxy');
    answerUpgrade(socket, answer, shortId());
  });
  const broken = new WeakSet<Duplex>();
  server.on('clientError', (error, socket) => {
    // What follows the first error is an error again, while the answer to it is on its way.
    if (broken.has(socket)) return;
    broken.add(socket);
    const code = systemCode(error);
    const unsaid = turns.unsaid(socket);
    if (code?.startsWith('HPE_') !== true || unsaid === 'busy' || !socket.writable) {
      socket.destroy();
    } else if (unsaid === undefined) {
      answerUpgrade(socket, malformed(code), shortId());
    } else {
      unsaid.shouldKeepAlive = false;
      answerRequest(unsaid, malformed(code), shortId());
    }
  });
}

function malformed(code: string): OwnAnswer {
  return code === 'HPE_HEADER_OVERFLOW'
    ? refusal(431, 'RequestHeaderFieldsTooLarge', `the request's headers exceed ${MAX_HEADER_BYTES} bytes`)
    : refusal(400, 'BadRequest', `malformed HTTP request (${code})`);
}

function refusal(status: number, reason: string, message: string): OwnAnswer {
  const error = new CodedError({
    code: 'http-refused',
    message: `connect-gateway-proxy: ${message}`,
    answer: { status, reason },
  });
  return ownAnswer(statusOfError(error), { kind: 'other' });
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
