import { readFileSync, statSync } from 'node:fs';
import * as https from 'node:https';
import { join } from 'node:path';
import * as promClient from 'prom-client';
import t from 'tap';
import { Metrics, type MetricsSources } from '../../../src/daemon/metrics.js';
import { callOwnHub } from '../../../src/daemon/own-hub.js';
import { State } from '../../../src/daemon/state.js';
import { SessionRegistry } from '../../../src/relays/sessions.js';
import { daemonScene, get, kubeconfigOf } from '../../support/daemon-scene.js';
import { FakeClock } from '../../support/fake-clock.js';

/** By name with labels. */
function readings(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

const NAME = 'connect_gateway_proxy_';

function scene(changes: Partial<MetricsSources> = {}): {
  metrics: Metrics;
  clock: FakeClock;
  sessions: SessionRegistry;
} {
  const clock = new FakeClock();
  const sessions = new SessionRegistry({ clock });
  const metrics = new Metrics(
    {
      clock,
      version: '1.2.3',
      sessions: () => sessions.live(),
      memberships: () => [
        { alias: 'prod', project: '12' },
        { alias: 'edge', project: '12', problem: 'port-taken' },
      ],
      cutoffMs: () => 1_200_000,
      tokens: () =>
        new Map([
          ['default', { expiresAt: clock.now() + 90_000, lastRefreshAt: clock.now() - 60_000 }],
          ['unused', {}],
        ]),
      quota: () => [
        {
          project: '12',
          streams: { active: 3, limit: 10, waiting: 1 },
          requests: { lastMinute: 40, perMinute: 2400 },
        },
      ],
      ...changes,
    },
    promClient,
  );
  sessions.onEvent((event) => metrics.session(event));
  return { metrics, clock, sessions };
}

t.test('requests, latencies, streams, resumes, gaps, cutoff, tokens and quota can be read', async (t) => {
  const { metrics, clock, sessions } = scene();
  metrics.request({ membership: 'prod', kind: 'resource', status: 200, ms: 30 });
  metrics.request({ membership: 'prod', kind: 'resource', status: 204, ms: 300 });
  metrics.request({ membership: 'prod', kind: 'resource', status: 503, ms: 30 });
  metrics.request({ membership: 'prod', kind: 'watch', status: 200, ms: 3_000_000 });
  metrics.request({ membership: 'prod', kind: 'resource', ms: 5 });
  const open = (id: string): ReturnType<SessionRegistry['open']> =>
    sessions.open({
      id,
      api: { kind: 'watch', group: '', version: 'v1', resource: 'pods' },
      membership: 'prod',
      identity: 'default',
      userAgent: 'kubectl',
      bytes: () => ({ up: 0, down: 0 }),
    });
  const [first, second] = [open('a'), open('b')];
  await clock.advance(1000);
  first.resumed(400);
  second.end('cut', { bytesMayBeMissing: true });
  const read = readings(await metrics.text());
  for (const [name, value] of [
    ['requests_total{membership="prod",code="2xx"}', 3],
    ['requests_total{membership="prod",code="5xx"}', 1],
    ['requests_total{membership="prod",code="aborted"}', 1],
    ['request_duration_seconds_count{membership="prod",kind="resource"}', 4],
    ['request_duration_seconds_bucket{le="0.05",membership="prod",kind="resource"}', 3],
    ['streams{membership="prod",kind="watch"}', 1],
    ['streams_total{membership="prod",kind="watch"}', 2],
    ['stream_resumes_total{membership="prod",kind="watch"}', 1],
    ['stream_resume_seconds_sum{membership="prod",kind="watch"}', 0.4],
    ['stream_gaps_total{membership="prod",kind="watch"}', 1],
    ['cutoff_estimate_seconds{project="12"}', 1200],
    ['token_age_seconds{identity="default"}', 60],
    ['token_expires_in_seconds{identity="default"}', 90],
    ['quota_streams{project="12"}', 3],
    ['quota_streams_limit{project="12"}', 10],
    ['quota_streams_waiting{project="12"}', 1],
    ['quota_requests{project="12"}', 40],
    ['quota_requests_limit{project="12"}', 2400],
    ['memberships{state="served"}', 1],
    ['memberships{state="failing"}', 1],
    ['build_info{version="1.2.3"}', 1],
  ] as const) {
    t.equal(read.get(NAME + name), value, name);
  }
  t.notOk(read.has(`${NAME}request_duration_seconds_count{membership="prod",kind="watch"}`), 'a watch has no latency');
  t.ok((read.get('process_resident_memory_bytes') ?? 0) > 1e6);
  first.end('over');
  t.notOk(readings(await metrics.text()).has(`${NAME}streams{membership="prod",kind="watch"}`));
});

t.test('a fleet of any size has a bounded number of labels', async (t) => {
  const { metrics } = scene();
  for (let n = 0; n < 3000; n++) metrics.request({ membership: `m${n}`, kind: 'watch', status: 200, ms: 1 });
  const names = [...readings(await metrics.text()).keys()].filter((name) => name.startsWith(`${NAME}requests_total`));
  t.equal(names.length, 501);
  t.ok(names.some((name) => name.includes('"other"')));
});

t.test('the hub hands them out to who has its credential, and counts what it carries', async (t) => {
  const at = await daemonScene(t, ['prod']);
  const daemon = await at.start();
  const kubeconfig = kubeconfigOf(daemon);
  await get(kubeconfig, 'prod', '/api/v1/pods');
  await get(kubeconfig, 'prod', '/api/v1/pods');
  const state = State.open(join(at.folder, 'state'));
  const record = state.readDaemon();
  if (record === undefined) throw new Error('no record of the daemon');
  const { status, body } = await callOwnHub(state, record, { path: '/-/metrics' });
  t.equal(status, 200);
  t.equal(readings(body).get(`${NAME}requests_total{membership="prod",code="2xx"}`), 2);
  t.equal(readings(body).get(`${NAME}memberships{state="served"}`), 1);
  t.equal((await callOwnHub(state, record, { path: '/-/metrics', credential: false })).status, 401);
  t.equal(readFileSync(state.path('hub-token'), 'utf8'), state.tokens.hub, 'for the scraper');
  t.equal(statSync(state.path('hub-token')).mode & 0o777, 0o600);
  for (const secret of [at.emulator.accessToken, state.tokens.hub]) t.notOk(body.includes(secret));

  const withMembershipToken = (path: string, method: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const headers = { Authorization: `Bearer ${kubeconfig.users[0]?.user.token}` };
      const ca = state.authorityCertificate();
      https
        .request(
          record.hubUrl + path,
          { method, headers, agent: false, ...(ca === undefined ? {} : { ca }) },
          (response) => {
            response.resume();
            resolve(response.statusCode ?? 0);
          },
        )
        .on('error', reject)
        .end();
    });
  t.equal(await withMembershipToken('/-/memberships', 'GET'), 200);
  for (const [path, method] of [
    ['/-/metrics', 'GET'],
    ['/-/reload', 'POST'],
    ['/-/shutdown', 'POST'],
  ] as const) {
    t.equal(await withMembershipToken(path, method), 401, `${path} takes the hub's own`);
  }
});
