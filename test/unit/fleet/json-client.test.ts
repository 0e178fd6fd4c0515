import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { Agent } from 'undici';
import type { AccessToken, TokenSource } from '../../../src/credentials/token-source.js';
import { createJsonClient, type JsonClient } from '../../../src/fleet/json-client.js';
import { FakeClock } from '../../support/fake-clock.js';

type Scripted = { readonly status: number; readonly body: string } | 'nothing' | 'reset';

/** A server that gives one answer after the other, and the last one from then on. */
async function scene(
  t: Test,
  answers: readonly Scripted[],
): Promise<{
  url: string;
  asked: IncomingMessage[];
  refused: string[];
  clock: FakeClock;
  client: JsonClient;
  /** Lets the pauses pass until the call is over, and tells what they were. */
  finish<T>(call: Promise<T>): Promise<T>;
  pauses: number[];
}> {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    const answer = answers[Math.min(asked.length, answers.length) - 1] ?? 'reset';
    if (answer === 'nothing') return;
    if (answer === 'reset') request.socket.destroy();
    else response.writeHead(answer.status).end(answer.body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const dispatcher = new Agent();
  t.teardown(async () => {
    await dispatcher.destroy();
    server.closeAllConnections();
    server.close();
  });
  const refused: string[] = [];
  const clock = new FakeClock();
  const client = createJsonClient({
    tokens: () => countingTokens(refused),
    dispatcher: async () => dispatcher,
    clock,
    random: () => 1,
  });
  const pauses: number[] = [];
  const finish = async <T>(call: Promise<T>): Promise<T> => {
    let over = false;
    const ended = call.finally(() => {
      over = true;
    });
    ended.catch(() => {});
    while (!over) {
      await new Promise((resolve) => setImmediate(resolve));
      // One timer is the deadline, the other the pause.
      if (clock.pendingTimers < 2) continue;
      const from = clock.monotonic();
      while (clock.pendingTimers === 2) clock.advance(100);
      pauses.push(clock.monotonic() - from);
    }
    return await ended;
  };
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/x?secret=1`;
  return { url, asked, refused, clock, client, finish, pauses };
}

function countingTokens(refused: string[]): TokenSource {
  return {
    description: 'test',
    principal: { account: 'dev@example.com', chain: [], universe: 'googleapis.com', quotaProject: 'payer' },
    origin: 'adc',
    renewal: '',
    get: async () => ({ value: `t${refused.length}` }),
    renew: () => undefined,
    invalidate: (token: AccessToken) => void refused.push(token.value),
    snapshot: () => ({ hasToken: true }),
    close: () => {},
  };
}

const fine = { status: 200, body: '{"a":1}' };
const failing = (status: number, message = 'told'): Scripted => ({
  status,
  body: JSON.stringify({ error: { code: status, message, status: 'X' } }),
});

t.test('an answer is asked for with the token and the project that pays', async (t) => {
  const { url, asked, client } = await scene(t, [fine]);
  t.strictSame(await client.get(url), { a: 1 });
  t.match(asked[0]?.headers, { authorization: 'Bearer t0', 'x-goog-user-project': 'payer' });
});

t.test('a refused token is replaced once', async (t) => {
  const { url, asked, refused, client } = await scene(t, [failing(401), fine]);
  t.strictSame(await client.get(url), { a: 1 });
  t.strictSame(refused, ['t0']);
  t.equal(asked[1]?.headers.authorization, 'Bearer t1');
  const never = await scene(t, [failing(401, 'who are you')]);
  await t.rejects(never.client.get(never.url), { code: 'google-401', message: /who are you/ });
  t.equal(never.asked.length, 2);
});

t.test('overload and broken connections are retried three times with growing pauses', async (t) => {
  const { url, client, finish, pauses } = await scene(t, [failing(429), 'reset', failing(503), fine]);
  t.strictSame(await finish(client.get(url)), { a: 1 });
  t.strictSame(pauses, [500, 1000, 2000]);
  const never = await scene(t, [failing(503, 'busy')]);
  await t.rejects(never.finish(never.client.get(never.url)), { code: 'google-503', retry: 'later', message: /busy/ });
  t.equal(never.asked.length, 4);
});

t.test('what will not change is told at once, with Google’s words and without the query', async (t) => {
  const { url, asked, client } = await scene(t, [failing(403, "Permission 'gkehub.memberships.list' denied")]);
  const error = await client.get(url).catch((caught: unknown) => caught);
  t.match(error, { code: 'google-403', retry: 'never', message: /\/v1\/x answered HTTP 403: Permission 'gkehub/ });
  t.notMatch(error, { message: /secret/ });
  t.equal(asked.length, 1);
  const page = await scene(t, [{ status: 404, body: '<!DOCTYPE html>' }]);
  await t.rejects(page.client.get(page.url), { code: 'google-404', message: /answered HTTP 404$/ });
  const portal = await scene(t, [{ status: 200, body: '<html>Welcome to the hotel' }]);
  await t.rejects(portal.client.get(portal.url), { code: 'google-odd-answer', message: /captive portal/ });
});

t.test('a call that gets no answer ends after thirty seconds, or with its caller', async (t) => {
  const { url, asked, clock, client } = await scene(t, ['nothing']);
  const silent = client.get(url);
  while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
  clock.advance(30_000);
  await t.rejects(silent, { code: 'google-unreachable', message: /no answer within 30 s/ });
  const leaving = new AbortController();
  const left = client.get(url, leaving.signal);
  leaving.abort(new Error('gone'));
  await t.rejects(left, { message: 'gone' });
  t.equal(clock.pendingTimers, 0);
});
