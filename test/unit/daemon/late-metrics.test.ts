import t from 'tap';
import { LateMetrics } from '../../../src/daemon/late-metrics.js';
import type { MetricsSources } from '../../../src/daemon/metrics.js';
import { SessionRegistry } from '../../../src/relays/sessions.js';
import { FakeClock } from '../../support/fake-clock.js';

function scene(importLibrary?: ConstructorParameters<typeof LateMetrics>[1]): {
  metrics: LateMetrics;
  clock: FakeClock;
  sessions: SessionRegistry;
} {
  const clock = new FakeClock();
  const sessions = new SessionRegistry({ clock });
  const sources: MetricsSources = {
    clock,
    version: '1.2.3',
    sessions: () => sessions.live(),
    memberships: () => [],
    cutoffMs: () => 1_200_000,
    tokens: () => new Map(),
    quota: () => [],
  };
  const metrics = new LateMetrics(sources, importLibrary);
  sessions.onEvent((event) => metrics.session(event));
  return { metrics, clock, sessions };
}

const OK = { membership: 'prod', kind: 'resource', status: 200, ms: 30 } as const;
const GOT = 'connect_gateway_proxy_requests_total{membership="prod",code="2xx"}';

t.test('a daemon that nobody has asked anything can be scraped', async (t) => {
  const { metrics } = scene();
  const { contentType, text } = await metrics.read();
  t.match(contentType, /^text\/plain/);
  t.match(text, 'connect_gateway_proxy_build_info{version="1.2.3"} 1');
  t.notMatch(text, GOT);
});

t.test('what came before the library is counted with what comes after it, each once', async (t) => {
  const { metrics, sessions } = scene();
  metrics.request(OK);
  metrics.request(OK);
  const session = sessions.open({
    id: 'a1',
    api: { kind: 'exec', group: '', version: 'v1' },
    membership: 'prod',
    identity: 'default',
    userAgent: 'kubectl',
    bytes: () => ({ up: 0, down: 0 }),
  });
  session.end('complete');
  const before = await metrics.read();
  t.match(before.text, `${GOT} 2\n`);
  t.match(before.text, 'connect_gateway_proxy_streams_total{membership="prod",kind="exec"} 1\n');
  metrics.request(OK);
  t.match((await metrics.read()).text, `${GOT} 3\n`);
});

t.test('it is imported a moment after the first request, not with it', async (t) => {
  const { metrics, clock } = scene();
  t.equal(clock.pendingTimers, 0);
  metrics.request(OK);
  metrics.request(OK);
  t.equal(clock.pendingTimers, 1, 'one timer, whatever comes');
});

t.test('a library that is gone costs the count and nothing else', async (t) => {
  const gone = new Error('Cannot find package prom-client');
  const unheard: unknown[] = [];
  const onUnheard = (error: unknown): void => void unheard.push(error);
  process.on('unhandledRejection', onUnheard);
  t.teardown(() => process.off('unhandledRejection', onUnheard));
  const { metrics, clock } = scene(() => Promise.reject(gone));
  metrics.request(OK);
  clock.advance(500);
  await t.rejects(metrics.read(), gone, 'whoever scrapes is told');
  metrics.request(OK);
  t.equal(clock.pendingTimers, 1, 'what could not be counted has been dropped: this is the first again');
  await new Promise((resolve) => setImmediate(resolve));
  t.strictSame(unheard, []);
});
