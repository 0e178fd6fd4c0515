import { once } from 'node:events';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import * as tls from 'node:tls';
import type { CertificatePair } from '../../src/base/certificates.js';
import { createAuthority, issueServerCertificate } from '../../src/base/certificates.js';
import { type Clock, systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import { Wakes } from '../../src/base/wake.js';
import type { Principal } from '../../src/credentials/principal.js';
import type { AccessToken, TokenSnapshot, TokenSource } from '../../src/credentials/token-source.js';
import type { Membership } from '../../src/fleet/membership.js';
import { FrontDoor } from '../../src/frontdoor/front-door.js';
import type { OwnApiSource } from '../../src/frontdoor/own-api.js';
import { upstreamAddress } from '../../src/gateway/address.js';
import { createDialer } from '../../src/gateway/dial.js';
import { createHttpUpstream } from '../../src/gateway/http-upstream.js';
import { createPacedUpstream } from '../../src/gateway/paced-upstream.js';
import { QuotaLedger } from '../../src/gateway/quota.js';
import { SessionRegistry } from '../../src/relays/sessions.js';
import { HeldSessions } from '../../src/relays/survive/held-sessions.js';
import { PlainContainers } from '../../src/relays/survive/plain-containers.js';
import './listener-leaks.js';

/** A token source that hands out numbered tokens and counts refusals. */
export class NumberedTokens implements TokenSource {
  description = 'numbered test tokens';
  principal: Principal = { account: 'dev@example.com', chain: [], universe: 'googleapis.com' };
  readonly origin = 'adc';
  readonly renewal = 'run: gcloud auth login';
  issued = 1;
  refused = 0;

  async get(): Promise<AccessToken> {
    return { value: `google-token-${this.issued}` };
  }

  invalidate(): void {
    this.refused++;
    this.issued++;
  }

  renew(): void {
    this.issued++;
  }

  snapshot(): TokenSnapshot {
    return { hasToken: true };
  }

  close(): void {}
}

/**
 * A gateway of the test's own: each test says what it answers. Plain HTTP, so that bytes can be read as they are, or TLS
 * with HTTP/2 and HTTP/1.1.
 */
export interface TestGateway {
  readonly url: string;
  readonly server: http.Server;
  /** Sockets that are open now. */
  readonly sockets: ReadonlySet<Socket>;
  close(): Promise<void>;
}

export async function startTestGateway(o: { http2?: boolean } = {}): Promise<TestGateway> {
  const { pair } = await testCertificates();
  const server =
    o.http2 === true
      ? // What the tests use of requests and responses is the same.
        (http2.createSecureServer({
          cert: pair.certificate,
          key: pair.privateKey,
          allowHTTP1: true,
        }) as unknown as http.Server)
      : http.createServer({ keepAliveTimeout: 60_000 });
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http${o.http2 === true ? 's' : ''}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    sockets,
    close: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

export function testMembership(endpoint: string, changes: Partial<Membership> = {}): Membership {
  return {
    name: 'projects/123456789012/locations/global/memberships/prod',
    project: '123456789012',
    projectId: 'demo-fleet',
    location: 'global',
    id: 'prod',
    alias: 'prod',
    kind: 'attached',
    state: 'READY',
    endpoint,
    endpointSource: 'config',
    identity: 'default',
    policy: 'full',
    stale: false,
    ...changes,
  };
}

export const GATEWAY_PREFIX = '/v1/projects/123456789012/locations/global/memberships/prod';

let certificates: Promise<{ ca: string; pair: CertificatePair }> | undefined;

export function testCertificates(): Promise<{ ca: string; pair: CertificatePair }> {
  certificates ??= (async () => {
    const now = Date.now();
    const authority = await createAuthority({ commonName: 'front door test', now, validDays: 2 });
    const pair = await issueServerCertificate({
      authority,
      commonName: 'localhost',
      hosts: ['127.0.0.1', 'localhost'],
      now,
      validDays: 1,
    });
    return { ca: authority.certificate, pair };
  })();
  return certificates;
}

export interface TestFrontDoor {
  readonly door: FrontDoor;
  readonly gateway: TestGateway;
  readonly tokens: NumberedTokens;
  readonly quota: QuotaLedger;
  readonly sessions: SessionRegistry;
  readonly wakes: Wakes;
  readonly ca: string;
  readonly port: number;
  readonly hubPort: number;
  readonly localToken: string;
  readonly agent: { readonly ca: string };
  /** A TLS connection to the membership's own port, for tests that write bytes themselves. */
  connect(port?: number): Promise<tls.TLSSocket>;
  close(): Promise<void>;
}

export interface TestFrontDoorOptions {
  /** The gateway speaks TLS, and HTTP/2 to whoever asks for it. */
  readonly http2?: boolean;
  readonly own?: Partial<OwnApiSource>;
  /** Where a gateway of another kind listens, in place of `gateway`. */
  readonly gatewayUrl?: string;
  readonly clock?: Clock;
  readonly rotateAfterMs?: number;
  readonly cutoffMs?: number;
  readonly onCut?: (ageMs: number) => void;
  /** Without it there is enough of everything. */
  readonly quota?: { readonly perMinute?: number; readonly streams?: number; readonly queueMs?: number };
}

/** A front door with one membership `prod` in front of a test gateway. */
export async function openTestFrontDoor(options: TestFrontDoorOptions = {}): Promise<TestFrontDoor> {
  const [gateway, { ca, pair }] = await Promise.all([startTestGateway(options), testCertificates()]);
  const dialer = createDialer({ proxy: {}, extraCa: ca });
  const { clock = systemClock } = options;
  const { perMinute = 1_000_000, streams = 1000, queueMs = 30_000 } = options.quota ?? {};
  const quota = new QuotaLedger({ clock, requests: { perMinute }, streams: { limit: streams, queue: queueMs } });
  const upstream = createPacedUpstream({ upstream: createHttpUpstream({ dialer, clock }), pacer: quota.requests });
  const sessions = new SessionRegistry({ clock });
  const wakes = new Wakes();
  const tokens = new NumberedTokens();
  const door = new FrontDoor({
    address: '127.0.0.1',
    certificate: pair,
    tokens: {
      hub: 'hub-token',
      ofMembership: (name) => `local-${name.split('/').at(-1)}`,
      pathSecretOf: (name) => `secret-${name.split('/').at(-1)}`,
    },
    tools: {
      http: upstream,
      dialer,
      clock,
      random: () => 0,
      sessions,
      quota,
      wakes,
      held: new HeldSessions({ clock }),
      plainContainers: new PlainContainers({ clock }),
      onCut: (_membership, ageMs) => options.onCut?.(ageMs),
      cutoffMs: () => options.cutoffMs ?? 20 * 60_000,
      rotateAfterMs: () => options.rotateAfterMs ?? 18 * 60_000,
    },
    own: {
      health: { live: () => true, started: () => true, ready: () => true },
      memberships: () => ({ memberships: [] }),
      sessions: async () => ({ live: [], held: [], ended: [] }),
      killSession: (id) => sessions.kill(id),
      quota: () => quota.use(),
      settings: () => ({}),
      onSessionEvent: () => () => {},
      reload: async () => ({}),
      metrics: async () => ({ contentType: 'text/plain', text: 'metrics\n' }),
      shutdown: () => {},
      ...options.own,
    },
    log: silentLogger,
  });
  const membership = testMembership((options.gatewayUrl ?? gateway.url) + GATEWAY_PREFIX);
  const hubPort = await door.openHub(0);
  const port = await door.open({ membership, address: upstreamAddress(membership.endpoint), tokens }, 0);
  return {
    door,
    gateway,
    tokens,
    quota,
    sessions,
    wakes,
    ca,
    port,
    hubPort,
    localToken: 'local-prod',
    agent: { ca },
    connect: async (to = port) => {
      const socket = tls.connect({ port: to, host: '127.0.0.1', ca });
      socket.on('error', () => {});
      await once(socket, 'secureConnect');
      return socket;
    },
    close: async () => {
      door.destroy();
      await upstream.close();
      await gateway.close();
    },
  };
}
