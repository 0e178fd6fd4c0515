import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ERROR_NAMES, type ErrorName } from '../../src/emulator/google/error-catalogue.js';
import { DaemonClient, type PlainAnswer } from '../support/daemon-client.js';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';
import { HastyClock } from '../support/hasty-clock.js';

/** What a row of the emulator's catalogue becomes; `after` is what becomes of streams that were accepted before. */
interface Row {
  readonly code: string;
  readonly status: number;
  readonly reason: string;
  readonly message: RegExp;
  /** `pause`: outlived; `told`: the client is told and the stream ends. */
  readonly after: 'pause' | 'told';
  /** Where an upgrade is answered otherwise. */
  readonly upgrade?: { readonly code: string; readonly status: number; readonly reason: string };
}

const lost = { status: 503, reason: 'ServiceUnavailable', after: 'pause' } as const;
const forbidden = { status: 403, reason: 'Forbidden', after: 'told' } as const;
const bad = { status: 400, reason: 'BadRequest', after: 'told' } as const;
const badStream = { code: 'stream-bad-request', status: 400, reason: 'BadRequest' } as const;

const ROWS: Readonly<Record<ErrorName, Row | 'passes'>> = {
  'agent-lost': { ...lost, code: 'agent-lost', message: /has lost its connection.*kubectl logs -n gke-connect/ },
  'agent-missing': { ...lost, code: 'agent-missing', message: /no Connect agent.*kubectl get pods -n gke-connect/ },
  'agent-not-authorised': {
    ...forbidden,
    code: 'agent-may-not-impersonate',
    message: /may not act for this user.*--impersonate \| kubectl apply/,
  },
  'agent-terminated': { ...lost, code: 'agent-connection-failed', message: /between Google and the cluster/ },
  'agent-unhealthy': { ...lost, code: 'agent-unhealthy', message: /is not healthy.*kubectl describe pods/ },
  'api-disabled': { ...forbidden, code: 'api-disabled', message: /gcloud services enable connectgateway/ },
  'bad-request-page': {
    ...bad,
    code: 'gateway-bad-request',
    message: /Error 400 \(Bad Request\)/,
    upgrade: badStream,
  },
  'cluster-error': { ...lost, code: 'cluster-error', message: /failed to create the websocket connection/ },
  'gateway-permission-denied': { ...forbidden, code: 'gateway-permission-denied', message: /gkehub\.gatewayEditor/ },
  'generate-credentials-denied': { ...forbidden, code: 'gateway-permission-denied', message: /generateCredentials/ },
  'groups-not-authorised': {
    ...forbidden,
    code: 'agent-may-not-impersonate-groups',
    message: /rbac --group developers@example\.com --impersonate/,
  },
  'groups-too-large': { ...bad, code: 'groups-too-large', message: /restructure the groups/ },
  'headers-too-large': {
    code: 'headers-too-large',
    status: 431,
    reason: 'RequestHeaderFieldsTooLarge',
    message: /8 KB/,
    after: 'told',
  },
  internal: {
    code: 'gateway-failure',
    status: 500,
    reason: 'InternalError',
    message: /Internal error/,
    after: 'pause',
  },
  'invalid-argument': { ...bad, code: 'gateway-bad-request', message: /invalid argument/ },
  'list-permission-denied': { ...forbidden, code: 'google-permission-denied', message: /gkehub\.memberships\.list/ },
  'membership-not-found': {
    code: 'membership-not-found',
    status: 404,
    reason: 'NotFound',
    message: /memberships list --project=demo-project/,
    after: 'told',
  },
  'not-found-page': {
    code: 'gateway-url-not-found',
    status: 404,
    reason: 'NotFound',
    message: /memberships --refresh/,
    after: 'told',
  },
  'rbac-denied': 'passes',
  'request-quota': {
    code: 'request-quota',
    status: 429,
    reason: 'TooManyRequests',
    message: /requests per minute/,
    after: 'pause',
  },
  'server-error-page': {
    code: 'gateway-failure',
    status: 502,
    reason: 'BadGateway',
    message: /try again in 30 seconds/,
    after: 'pause',
  },
  'service-account-token-denied': { ...forbidden, code: 'google-permission-denied', message: /getAccessToken/ },
  'spdy-refused': {
    code: 'gateway-url-not-found',
    status: 404,
    reason: 'NotFound',
    message: /memberships --refresh/,
    after: 'told',
  },
  'spdy-refused-400': { ...bad, code: 'gateway-bad-request', message: /Error 400/, upgrade: badStream },
  'stream-permission-denied': {
    ...forbidden,
    code: 'stream-permission-denied',
    message: /roles\/gkehub\.gatewayAdmin/,
  },
  'stream-quota': {
    code: 'stream-quota',
    status: 429,
    reason: 'TooManyRequests',
    message: /connect-gateway-proxy sessions/,
    after: 'pause',
  },
  'stream-rbac-denied': { ...forbidden, code: 'stream-rbac-denied', message: /--streams-only/ },
  'third-party-rbac-denied': 'passes',
  unauthenticated: {
    code: 'google-unauthenticated',
    status: 401,
    reason: 'Unauthorized',
    message: /put a fresh access token into the file.* gcloud auth print-access-token > \S+token/,
    after: 'pause',
  },
  unavailable: { ...lost, code: 'gateway-failure', message: /currently unavailable/ },
  'unknown-rejection': {
    code: 'throttled-without-a-word',
    status: 429,
    reason: 'TooManyRequests',
    message: /too many at once/,
    after: 'pause',
  },
  'wrong-collection': { ...lost, code: 'agent-missing', message: /no Connect agent/ },
};

const MEMBERSHIP = 'edge-store';
const MAPS = '/api/v1/namespaces/default/configmaps';
const WATCH = `${MAPS}?watch=true&fieldSelector=metadata.name%3Dcounter`;
const ATTACH = '/api/v1/namespaces/default/pods/box/attach?stdout=true&stderr=true';
const EXEC = '/api/v1/namespaces/default/pods/box/exec?command=true&stdout=true';

interface StatusBody {
  readonly kind: string;
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly details?: { readonly causes?: readonly { reason: string }[]; readonly retryAfterSeconds?: number };
}

function assertStatus(t: Test, status: StatusBody, row: Row, where: string): void {
  t.equal(status.code, row.status, `${where}: code`);
  t.equal(status.reason, row.reason, `${where}: reason`);
  t.equal(status.details?.causes?.[0]?.reason, row.code, `${where}: stable code`);
  t.match(status.message, row.message, `${where}: message`);
  t.notMatch(status.message, /<[a-z!/]|\n/i, `${where}: one line, no HTML`);
}

function assertAnswer(t: Test, answer: PlainAnswer, row: Row, where: string): void {
  t.equal(answer.status, row.status, `${where}: HTTP status`);
  t.match(answer.headers['content-type'], 'application/json', `${where}: type`);
  const wait = row.code === 'request-quota' ? '6' : undefined;
  t.equal(answer.headers['retry-after'], wait, `${where}: Retry-After only where a short wait helps`);
  assertStatus(t, JSON.parse(answer.body) as StatusBody, row, where);
}

const folder = mkdtempSync(join(tmpdir(), 'cgp-failures-'));
// Pauses before the next try are what most of these stories are made of.
const clock = new HastyClock(5);
let demo: DemoDaemon;
let client: DaemonClient;
let counter = 0;

t.before(async () => {
  demo = await startDemoDaemon({ folder, clock });
  client = new DaemonClient(demo.kubeconfig, MEMBERSHIP);
  const { status } = await client.request(MAPS, {
    method: 'POST',
    body: { metadata: { name: 'counter' }, data: { n: '0' } },
  });
  if (status !== 201) throw new Error(`HTTP ${status}`);
});
t.teardown(async () => {
  await demo.close();
  rmSync(folder, { recursive: true, force: true });
});

async function count(): Promise<string> {
  const n = String(++counter);
  const { status } = await client.request(`${MAPS}/counter`, { method: 'PATCH', body: { data: { n } } });
  t.equal(status, 200);
  return n;
}

/** While the fault is in force every call to the membership meets it. */
async function during<T>(answer: ErrorName, act: () => Promise<T>): Promise<T> {
  const id = demo.emulator.faults.add({ answer, membership: MEMBERSHIP });
  // Before the one quota is given up, a minute passes; before the other, a few seconds.
  const speed = answer === 'request-quota' ? 100 : answer === 'stream-quota' ? 20 : 5;
  try {
    return await clock.faster(speed, act);
  } finally {
    demo.emulator.faults.remove(id);
  }
}

for (const name of ERROR_NAMES) {
  const row = ROWS[name];
  if (row === 'passes') {
    t.test(`${name}: what the cluster says passes byte for byte`, async (t) => {
      const [plain, upgrade] = await during(name, async () => [
        await client.request(MAPS),
        await client.refusedWebSocket(EXEC),
      ]);
      for (const answer of [plain, upgrade]) {
        t.equal(answer?.status, 403);
        const status = JSON.parse(answer?.body ?? '') as StatusBody;
        t.match(status.message, /^pods is forbidden: User/);
        t.equal(status.details?.causes, undefined, 'nothing is added');
      }
    });
    continue;
  }

  t.test(`${name}: plain requests, discovery and the start of a watch`, async (t) => {
    await during(name, async () => {
      assertAnswer(t, await client.request(MAPS), row, 'request');
      assertAnswer(t, await client.request(WATCH), row, 'watch start');
      const discovery = await client.request('/api');
      if (row.status === 401) return;
      t.match(discovery.headers['content-type'], 'text/plain', 'kubectl reads nothing else there');
      t.ok([403, 500, 502].includes(discovery.status), `discovery: ${discovery.status}`);
      t.equal(discovery.headers['retry-after'], undefined);
      t.match(discovery.body, row.message);
    });
  });

  t.test(`${name}: upgrades over WebSocket and SPDY`, async (t) => {
    const expected: Row = { ...row, ...row.upgrade };
    await during(name, async () => {
      assertAnswer(t, await client.refusedWebSocket(EXEC), expected, 'WebSocket');
      assertAnswer(t, await client.refusedSpdy(EXEC), expected, 'SPDY');
    });
  });

  t.test(`${name}: a watch that was accepted before`, async (t) => {
    const watch = await client.stream(WATCH);
    t.match(JSON.parse((await watch.next()) ?? ''), { type: 'ADDED' });
    const times = row.after === 'pause' ? { times: 2 } : {};
    const id = demo.emulator.faults.add({ answer: name, membership: MEMBERSHIP, match: 'watch', ...times });
    t.equal(demo.emulator.faults.cutNow('reset', { membership: MEMBERSHIP, match: 'watch' }), 1);
    if (row.after === 'pause') {
      const n = await count();
      t.match(JSON.parse((await watch.next()) ?? ''), { type: 'MODIFIED', object: { data: { n } } }, 'only a pause');
      watch.leave();
      return;
    }
    const last = JSON.parse((await watch.next()) ?? '') as { type: string; object: StatusBody };
    t.equal(last.type, 'ERROR');
    assertStatus(t, last.object, row, 'watch resume');
    t.equal(await watch.next(), undefined);
    t.equal(watch.ended, 'complete');
    demo.emulator.faults.remove(id);
  });

  t.test(`${name}: an attach that was accepted before`, async (t) => {
    const attach = client.webSocket(ATTACH);
    const messages: { channel: number; text: string }[] = [];
    let wake = (): void => {};
    attach.on('message', (data: Buffer) => {
      messages.push({ channel: data[0] ?? 0, text: data.subarray(1).toString() });
      wake();
    });
    const until = async (channel: number): Promise<string> => {
      for (;;) {
        const found = messages.find((message) => message.channel === channel && message.text !== '');
        if (found !== undefined) return found.text;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    await once(attach, 'open');
    const times = row.after === 'pause' ? { times: 2 } : {};
    const id = demo.emulator.faults.add({ answer: name, membership: MEMBERSHIP, ...times });
    demo.emulator.faults.cutNow('close-1011', { membership: MEMBERSHIP, match: 'upgrade' });
    if (row.after === 'pause') {
      t.match(await until(2), /attached to the same container again/, 'only a pause');
      attach.terminate();
      return;
    }
    const closed = once(attach, 'close');
    assertStatus(t, { kind: 'Status', ...JSON.parse(await until(3)) }, row, 'mid-stream');
    t.equal((await closed)[0], 1000);
    demo.emulator.faults.remove(id);
  });
}

t.test('a command that is cut by the loss of the agent says so, and is not run again', async (t) => {
  const exec = client.webSocket('/api/v1/namespaces/default/pods/box/exec?command=sleep&command=100&stdout=true');
  let status: StatusBody | undefined;
  exec.on('message', (data: Buffer) => {
    if (data[0] === 3) status = JSON.parse(data.subarray(1).toString()) as StatusBody;
  });
  await once(exec, 'open');
  const before = demo.emulator.requests.length;
  const id = demo.emulator.faults.add({ answer: 'agent-lost', membership: MEMBERSHIP });
  demo.emulator.faults.cutNow('reset', { membership: MEMBERSHIP, match: 'upgrade' });
  await once(exec, 'close');
  demo.emulator.faults.remove(id);
  t.match(status, { status: 'Failure', code: 503, reason: 'ServiceUnavailable' });
  t.equal(status?.details?.causes?.[0]?.reason, 'agent-lost');
  t.match(
    status?.message,
    /cut this session after \d+ s \(the Connect agent .* has lost its connection.*not run again/,
  );
  const asked = demo.emulator.requests.slice(before);
  t.ok(asked.length > 0 && asked.every(({ method, kind }) => method === 'GET' && kind === 'request'));
});

t.test('what a workload answers below a proxy subresource is its own, whatever it looks like', async (t) => {
  // The service answers 404 itself: its words reach the client as they are.
  const answer = await client.request('/api/v1/namespaces/default/services/nothing-there/proxy/');
  t.match(JSON.parse(answer.body), { kind: 'Status', reason: 'NotFound' });
  // Google's own words about the gateway are not a workload's.
  await during('agent-lost', async () => {
    const lostAnswer = await client.request('/api/v1/namespaces/default/services/hello/proxy/');
    t.match(JSON.parse(lostAnswer.body), { kind: 'Status', code: 503 });
  });
});

t.test('a GKE cluster needs no agent, whatever Google says', async (t) => {
  const prod = new DaemonClient(demo.kubeconfig, 'prod');
  const id = demo.emulator.faults.add({ answer: 'wrong-collection', membership: 'prod' });
  const status = JSON.parse((await prod.request(MAPS)).body) as StatusBody;
  demo.emulator.faults.remove(id);
  t.equal(status.details?.causes?.[0]?.reason, 'gke-asked-for-agent');
  t.match(status.message, /remove memberships\[\]\.endpoint/);
});
