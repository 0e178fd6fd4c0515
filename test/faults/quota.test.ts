import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as https from 'node:https';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { errorAnswer } from '../../src/emulator/google/error-catalogue.js';
import { FakeClock } from '../support/fake-clock.js';
import { openTestFrontDoor, type TestFrontDoor } from '../support/front-door.js';

const PROJECT = '123456789012';
const PER_MINUTE = 2400;
const CLIENTS = 100;
const STEP_MS = 25;

const OVER_QUOTA = errorAnswer('request-quota', {
  projectNumber: PROJECT,
  projectId: 'demo-fleet',
  location: 'global',
  membership: 'prod',
  user: 'dev@example.com',
  target: '/',
});

interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  /** Of the clock, from the request to the answer. */
  readonly ms: number;
}

/** Google's count, by its own minutes, and what has got through. */
class CountingGateway {
  readonly writes = new Map<string, number>();
  refused = 0;
  busiestMinute = 0;
  readonly #clock: FakeClock;
  readonly #limit: number;
  readonly #arrivals: number[] = [];

  constructor(at: TestFrontDoor, o: { clock: FakeClock; limit: number }) {
    this.#clock = o.clock;
    this.#limit = o.limit;
    at.gateway.server.on('request', (request: IncomingMessage, response: ServerResponse) =>
      this.#answer(request, response),
    );
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const now = this.#clock.monotonic();
    request.resume();
    const lastMinute = this.#arrivals.filter((at) => now - at < 60_000).length;
    if (lastMinute >= this.#limit) {
      this.refused++;
      response.writeHead(OVER_QUOTA.status, { 'Content-Type': OVER_QUOTA.contentType }).end(OVER_QUOTA.body);
      return;
    }
    this.#arrivals.push(now);
    this.busiestMinute = Math.max(this.busiestMinute, lastMinute + 1);
    if (request.method === 'POST') {
      const name = new URL(request.url ?? '', 'http://gateway').searchParams.get('fieldManager') ?? '';
      this.writes.set(name, (this.writes.get(name) ?? 0) + 1);
    }
    response.writeHead(request.method === 'POST' ? 201 : 200, { 'Content-Type': 'application/json' }).end('{}');
  }
}

/** Clients on real sockets, and a clock that moves only when everybody waits in line. */
class Crowd {
  readonly #at: TestFrontDoor;
  readonly #clock: FakeClock;
  #outstanding = 0;
  #over = false;

  constructor(at: TestFrontDoor, clock: FakeClock) {
    this.#at = at;
    this.#clock = clock;
  }

  async ask(target: string, o: { method?: string; agent?: https.Agent } = {}): Promise<Answer> {
    const began = this.#clock.monotonic();
    this.#outstanding++;
    try {
      const request = https.request({
        host: '127.0.0.1',
        port: this.#at.port,
        path: target,
        method: o.method ?? 'GET',
        ca: this.#at.ca,
        agent: o.agent ?? false,
        headers: { Authorization: `Bearer ${this.#at.localToken}` },
      });
      request.end();
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      for await (const _chunk of response);
      const ms = this.#clock.monotonic() - began;
      return { status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], ms };
    } finally {
      this.#outstanding--;
    }
  }

  /** A client that asks again as soon as it is answered, on one connection. */
  async loop(act: (agent: https.Agent) => Promise<void>): Promise<void> {
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    while (!this.#over) await act(agent);
    agent.destroy();
  }

  /** Time on the clock, which stands still while anything is on its way. */
  async pass(ms: number): Promise<void> {
    const end = this.#clock.monotonic() + ms;
    while (this.#clock.monotonic() < end) {
      await this.#settled();
      this.#clock.advance(STEP_MS);
    }
    await this.#settled();
  }

  /** No new requests; those that wait have their turn. */
  async finish(loops: readonly Promise<void>[]): Promise<void> {
    this.#over = true;
    let done = false;
    void Promise.all(loops).then(() => {
      done = true;
    });
    while (!done) {
      await this.#settled();
      this.#clock.advance(STEP_MS);
      await setImmediate();
    }
  }

  async #settled(): Promise<void> {
    do await setImmediate();
    while (this.#outstanding !== this.#at.quota.requests.use(PROJECT).waiting);
  }
}

t.test('100 clients against 2,400 a minute: no write is lost, and who waits for a GET has it within 2 s', async (t) => {
  const clock = new FakeClock();
  const at = await openTestFrontDoor({ clock, quota: { perMinute: PER_MINUTE } });
  t.teardown(() => at.close());
  const gateway = new CountingGateway(at, { clock, limit: PER_MINUTE });
  const crowd = new Crowd(at, clock);
  const written: string[] = [];
  const failures: string[] = [];
  const note = (answer: Answer, what: string): void => {
    if (answer.status >= 300) failures.push(`${what}: ${answer.status}`);
  };
  const loops = Array.from({ length: CLIENTS }, (_, i) => {
    let n = 0;
    if (i % 5 === 0) {
      return crowd.loop(async (agent) => {
        const name = `writer-${i}-${n++}`;
        const answer = await crowd.ask(`/api/v1/namespaces/default/configmaps?fieldManager=${name}`, {
          method: 'POST',
          agent,
        });
        note(answer, name);
        written.push(name);
      });
    }
    const targets =
      i % 5 === 1
        ? ['/api/v1/pods']
        : i % 5 === 2
          ? [`/apis/group-${i}.example/v1`]
          : ['/api/v1/pods?resourceVersion=0', '/apis/apps/v1/deployments?limit=500&resourceVersion=0'];
    return crowd.loop(async (agent) =>
      note(await crowd.ask(targets[n++ % targets.length] ?? '', { agent }), `client ${i}`),
    );
  });

  const fresh: number[] = [];
  const kept: number[] = [];
  const people: Promise<void>[] = [];
  const person = new https.Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => person.destroy());
  for (let second = 0; second < 72; second += 4) {
    // kubectl makes a connection each time; a dashboard keeps one.
    people.push(crowd.ask('/api/v1/namespaces/default/pods/box').then((answer) => void fresh.push(answer.ms)));
    people.push(
      crowd.ask('/api/v1/namespaces/default/pods', { agent: person }).then((answer) => void kept.push(answer.ms)),
    );
    await crowd.pass(4000);
  }
  await crowd.finish([...loops, ...people]);

  t.strictSame(failures, [], 'nobody is refused');
  t.equal(gateway.refused, 0, 'Google never had to');
  t.ok(gateway.busiestMinute > PER_MINUTE * 0.85, `${gateway.busiestMinute} in the busiest minute`);
  t.ok(gateway.busiestMinute <= PER_MINUTE * 0.95 + 1);
  t.ok(written.length > 300, `${written.length} writes`);
  t.strictSame([...gateway.writes.keys()].sort(), [...written].sort(), 'every write has arrived');
  t.strictSame([...new Set(gateway.writes.values())], [1], 'once');
  t.equal(fresh.length + kept.length, 36);
  t.ok(Math.max(...fresh) < 2000, `a new client waits ${Math.max(...fresh)} ms at most`);
  t.ok(Math.max(...kept) < 2000, `one that stays ${Math.max(...kept)} ms`);
});

t.test('others use the quota too: reads are repeated unseen, a write is told so and is made once', async (t) => {
  const clock = new FakeClock();
  const at = await openTestFrontDoor({ clock, quota: { perMinute: PER_MINUTE } });
  t.teardown(() => at.close());
  // Half of it is somebody else's.
  const gateway = new CountingGateway(at, { clock, limit: PER_MINUTE / 2 });
  const crowd = new Crowd(at, clock);
  const reads: number[] = [];
  const told: Answer[] = [];
  const written: string[] = [];
  const loops = Array.from({ length: CLIENTS }, (_, i) => {
    let n = 0;
    if (i % 2 !== 0) {
      return crowd.loop(async (agent) => void reads.push((await crowd.ask('/api/v1/pods', { agent })).status));
    }
    return crowd.loop(async (agent) => {
      const name = `writer-${i}-${n}`;
      const answer = await crowd.ask(`/api/v1/namespaces/default/configmaps?fieldManager=${name}`, {
        method: 'POST',
        agent,
      });
      told.push(answer);
      if (answer.status !== 201) return;
      n++;
      written.push(name);
    });
  });
  await crowd.pass(80_000);
  await crowd.finish(loops);

  t.ok(gateway.refused > 0, `Google has refused ${gateway.refused}`);
  t.ok(gateway.refused < 200, 'and is not asked again and again');
  t.strictSame([...new Set(reads)], [200], 'no reader has seen it');
  const refused = told.filter(({ status }) => status !== 201);
  t.ok(refused.length > 0, `${refused.length} writers met it`);
  for (const { status, retryAfter } of refused) {
    t.strictSame([status, retryAfter], [429, '6'], 'a writer is told when to try again');
  }
  t.strictSame([...gateway.writes.keys()].sort(), [...written].sort());
  t.strictSame([...new Set(gateway.writes.values())], [1]);
});
