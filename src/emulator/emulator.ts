import { randomBytes } from 'node:crypto';
import { type EventEmitter, once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import * as net from 'node:net';
import type { Duplex } from 'node:stream';
import * as tls from 'node:tls';
import { createAuthority, issueServerCertificate } from '../base/certificates.js';
import type { Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { ClusterBackend } from './cluster-backend.js';
import { AdminApi } from './google/admin-api.js';
import { notFoundPage } from './google/answers.js';
import { Connections } from './google/connections.js';
import { ControlApi } from './google/control-api.js';
import { DataPath, refuse } from './google/data-path.js';
import { parseDataTarget } from './google/data-target.js';
import { EmulatedFleet, type EmulatedMembership } from './google/emulated-fleet.js';
import { errorAnswer } from './google/error-catalogue.js';
import { Faults } from './google/faults.js';
import { createHttp2Front } from './google/http2-front.js';
import { type CuttableResponse, MeteredResponse } from './google/metered-response.js';
import { Quota } from './google/quota.js';
import { type RecordedRequest, RequestLog } from './google/request-log.js';
import { Tokens } from './google/tokens.js';

export type { EmulatedMembership } from './google/emulated-fleet.js';
export type { Faults } from './google/faults.js';
export type { RecordedRequest } from './google/request-log.js';

const LOOPBACK = '127.0.0.1';
const VALID_DAYS = 30;
/** Above the gateway's own limit, which it answers with a page of its own. */
const MAX_HEADER_BYTES = 128 * 1024;
/** As long as Google's front ends keep an idle connection. */
const KEEP_ALIVE_MS = 240_000;
const DEFAULT_USER = 'dev@example.com';
/** Google's own quotas for a fleet host project. */
const ACTIVE_STREAMS = 10;
const REQUESTS_PER_MINUTE = 2400;

export interface EmulatorOptions {
  readonly memberships: readonly EmulatedMembership[];
  /** Of the TLS listener; the system chooses when absent or 0. */
  readonly port?: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: { readonly activeStreams?: number; readonly requestsPerMinute?: number };
}

/** A running Connect gateway emulator, on loopback only. */
export interface Emulator {
  /** `https://127.0.0.1:PORT`, under the emulator's own CA. */
  readonly url: string;
  /** The same over plain HTTP, for gcloud's endpoint overrides. */
  readonly plainUrl: string;
  readonly caCertificate: string;
  /** Of dev@example.com; random and good for a day. */
  readonly accessToken: string;
  /** For the OAuth token endpoint at `/token`; of dev@example.com. */
  readonly refreshToken: string;
  /** For `/-/emulator/...`. */
  readonly adminToken: string;
  issueToken(o: { user: string; groups?: readonly string[]; expiresInSeconds?: number }): string;
  /** An access token that nobody is admitted with from now on. */
  revokeToken(accessToken: string): void;
  /** A workload's own token, for the exchange of federated tokens at `/v1/token`. */
  issueSubjectToken(o: { user: string; groups?: readonly string[] }): string;
  /** A login of another person, as `refreshToken`. */
  issueRefreshToken(o: { user: string; groups?: readonly string[] }): string;
  /** The content of a service account's key file, for the jwt-bearer grant. */
  issueServiceAccountKey(email: string): Record<string, string>;
  readonly faults: Faults;
  /** The last 5000 calls, oldest first. */
  readonly requests: readonly RecordedRequest[];
  onRequest(listener: (request: RecordedRequest) => void): () => void;
  activeStreams(): number;
  setMemberships(memberships: readonly EmulatedMembership[]): void;
  /** Drops every connection and closes every backend that was ever given. */
  close(): Promise<void>;
}

export async function startEmulator(options: EmulatorOptions): Promise<Emulator> {
  const { clock, log, limits = {} } = options;
  const authority = await createAuthority({
    commonName: 'connect-gateway-proxy emulator',
    now: clock.now(),
    validDays: VALID_DAYS,
  });
  const pair = await issueServerCertificate({
    authority,
    commonName: 'localhost',
    hosts: [LOOPBACK, 'localhost'],
    now: clock.now(),
    validDays: VALID_DAYS,
  });
  const fleet = new EmulatedFleet(options.memberships);
  const tokens = new Tokens(clock);
  const faults = new Faults();
  const requests = new RequestLog();
  const connections = new Connections();
  const adminToken = randomBytes(24).toString('base64url');
  const quota = new Quota({
    clock,
    activeStreams: limits.activeStreams ?? ACTIVE_STREAMS,
    requestsPerMinute: limits.requestsPerMinute ?? REQUESTS_PER_MINUTE,
  });
  let url = '';
  const control = new ControlApi({
    fleet,
    tokens,
    faults,
    requests,
    clock,
    caCertificate: authority.certificate,
    origin: () => url,
  });
  const dataPath = new DataPath({ fleet, tokens, faults, quota, requests, connections, clock, log });
  const admin = new AdminApi({ faults, adminToken, activeStreams: () => quota.activeStreams() });

  const onRequest = (request: IncomingMessage, response: ServerResponse & CuttableResponse): void => {
    const { url: target = '/' } = request;
    const data = parseDataTarget(target);
    const handled = target.startsWith('/-/')
      ? admin.handle(request, response)
      : data === undefined
        ? control.handle(request, response)
        : dataPath.handle(request, response, data);
    handled.catch((error: unknown) => {
      log.error({ reason: describeError(error) }, 'the emulator failed at a request');
      response.destroy();
    });
  };
  const onUpgrade = (request: IncomingMessage, socket: Socket, head: Buffer): void => {
    const data = parseDataTarget(request.url ?? '/');
    if (data === undefined) {
      refuse(socket, notFoundPage(request.url ?? '/'));
      return;
    }
    dataPath.upgrade(request, socket, head, data).catch((error: unknown) => {
      log.error({ reason: describeError(error) }, 'the emulator failed at an upgrade');
      socket.destroy();
    });
  };
  const plain = http.createServer(
    { ServerResponse: MeteredResponse, maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: 0 },
    onRequest,
  );
  plain.keepAliveTimeout = KEEP_ALIVE_MS;
  plain.on('upgrade', onUpgrade);
  plain.on('clientError', onClientError);
  const http2Front = createHttp2Front(onRequest);
  const secure = tls.createServer(
    { cert: pair.certificate, key: pair.privateKey, ALPNProtocols: ['h2', 'http/1.1'] },
    (socket) => {
      socket.on('error', () => {});
      (socket.alpnProtocol === 'h2' ? http2Front : plain).emit('connection', socket);
    },
  );

  /** A TCP listener in front of the TLS or HTTP server: it knows the sockets below TLS, and makes new connections wait. */
  const listen = async (server: EventEmitter, handshakes: number, port: number): Promise<net.Server> => {
    const listener = net.createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: false }, (tcp) => {
      connections.add(tcp);
      const wait = faults.connectionRttMs() * handshakes;
      if (wait === 0) server.emit('connection', tcp);
      else clock.after(wait, () => server.emit('connection', tcp));
    });
    // Google's front ends turn nobody away when a fleet's streams come again all at once.
    listener.listen({ host: LOOPBACK, port, backlog: 4096 });
    await once(listener, 'listening');
    return listener;
  };
  // TCP and TLS take a round trip each before the first request.
  const secureListener = await listen(secure, 2, options.port ?? 0);
  const plainListener = await listen(plain, 1, 0);
  url = `https://${LOOPBACK}:${portOf(secureListener)}`;
  const plainUrl = `http://${LOOPBACK}:${portOf(plainListener)}`;
  const backends = new Set<ClusterBackend>(options.memberships.map(({ backend }) => backend));
  log.info({ url, plainUrl, memberships: options.memberships.length }, 'the Connect gateway emulator listens');

  let closing: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    const closed = [secureListener, plainListener].map((listener) => {
      listener.close();
      return once(listener, 'close');
    });
    connections.closeAll();
    await Promise.all([...closed, ...[...backends].map((backend) => backend.close())]);
  };
  const issueToken: Emulator['issueToken'] = (o) => tokens.issue(o).accessToken;
  return {
    url,
    plainUrl,
    caCertificate: authority.certificate,
    accessToken: issueToken({ user: DEFAULT_USER }),
    refreshToken: tokens.issueRefreshToken({ user: DEFAULT_USER }),
    adminToken,
    issueToken,
    revokeToken: (accessToken) => tokens.revoke(accessToken),
    issueSubjectToken: (o) => tokens.issueSubjectToken(o),
    issueRefreshToken: (o) => tokens.issueRefreshToken(o),
    issueServiceAccountKey: (email) =>
      tokens.createServiceAccountKey({
        email,
        projectId: options.memberships[0]?.projectId ?? 'demo-project',
        tokenUri: `${plainUrl}/token`,
      }),
    faults,
    requests: requests.records,
    onRequest: (listener) => requests.onRequest(listener),
    activeStreams: () => quota.activeStreams(),
    setMemberships(memberships) {
      for (const { backend } of memberships) backends.add(backend);
      fleet.set(memberships);
    },
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
}

function onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  // The rest of an over-long head is an error again, while the answer to the first is on its way.
  if (socket.writableEnded) return;
  if (error.code === 'HPE_HEADER_OVERFLOW' && socket.writable) {
    const nowhere = { projectNumber: '', projectId: '', location: '', membership: '', user: '', target: '' };
    refuse(socket, errorAnswer('headers-too-large', nowhere));
  } else {
    socket.destroy();
  }
}

function portOf(server: net.Server): number {
  return (server.address() as AddressInfo).port;
}
