import t from 'tap';
import { silentLogger } from '../../../src/base/log.js';
import { createCachedTokenSource } from '../../../src/credentials/cached-token-source.js';
import type { AccessToken, TokenSource } from '../../../src/credentials/token-source.js';
import { FakeClock } from '../../support/fake-clock.js';

const HOUR = 3_600_000;
const MINUTE = 60_000;

/** A source whose answers the test gives one by one. */
function scripted(): {
  clock: FakeClock;
  source: TokenSource;
  calls: { resolve(token: AccessToken): void; reject(error: Error): void; signal: AbortSignal }[];
} {
  const clock = new FakeClock();
  const calls: ReturnType<typeof scripted>['calls'] = [];
  const source = createCachedTokenSource({
    principal: { account: 'dev@example.com', chain: [], universe: 'googleapis.com' },
    origin: 'adc',
    renewal: 'run: gcloud auth login',
    clock,
    log: silentLogger,
    random: () => 1,
    fetch: (signal) => new Promise((resolve, reject) => calls.push({ resolve, reject, signal })),
  });
  return { clock, source, calls };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('fifty callers cause one fetch', async (t) => {
  const { source, calls, clock } = scripted();
  const all = Array.from({ length: 50 }, () => source.get());
  t.equal(calls.length, 1);
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  t.strictSame(new Set((await Promise.all(all)).map(({ value }) => value)), new Set(['a']));
  await source.get();
  t.equal(calls.length, 1, 'and a valid token is kept');
});

t.test('a token near its end is renewed behind the back of its users', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  await first;
  clock.advance(56 * MINUTE);
  t.equal((await source.get()).value, 'a', 'nobody waits');
  t.equal((await source.get()).value, 'a');
  t.equal(calls.length, 2);
  calls[1]?.resolve({ value: 'b', expiresAt: clock.now() + HOUR });
  await settle();
  t.equal((await source.get()).value, 'b');
});

t.test('after the sleep of the machine an expired token is not handed out', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  await first;
  clock.sleepMachine(8 * HOUR);
  const next = source.get();
  calls[1]?.resolve({ value: 'b', expiresAt: clock.now() + HOUR });
  t.equal((await next).value, 'b');
});

t.test('a refused token is replaced once, and only if it is the present one', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  const a = await first;
  source.invalidate(a);
  const second = source.get();
  calls[1]?.resolve({ value: 'b', expiresAt: clock.now() + HOUR });
  await second;
  source.invalidate(a);
  t.equal((await source.get()).value, 'b', 'a late refusal of the old one changes nothing');
  t.equal(calls.length, 2);
});

t.test('failures are not repeated at every call, and end by themselves', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.reject(new Error('no login'));
  await t.rejects(first, { message: 'no login' });
  await t.rejects(source.get(), { message: 'no login' });
  t.equal(calls.length, 1);
  t.match(source.snapshot().lastFailure, { message: 'no login' });
  clock.advance(1000);
  const second = source.get();
  t.equal(calls.length, 2);
  calls[1]?.reject(new Error('no login'));
  await t.rejects(second);
  clock.advance(1999);
  await t.rejects(source.get());
  t.equal(calls.length, 2, 'the pause grows');
  clock.advance(1);
  const third = source.get();
  calls[2]?.resolve({ value: 'c' });
  t.equal((await third).value, 'c');
  t.equal(source.snapshot().lastFailure, undefined);
});

t.test('a caller that leaves does not end the fetch of the others', async (t) => {
  const { source, calls } = scripted();
  const leaving = new AbortController();
  const left = source.get(leaving.signal);
  const stays = source.get();
  leaving.abort(new Error('gone'));
  await t.rejects(left, { message: 'gone' });
  calls[0]?.resolve({ value: 'a' });
  t.equal((await stays).value, 'a');
});

t.test('a source that never answers is given up, and closing ends the wait', async (t) => {
  const { source, calls, clock } = scripted();
  const stuck = source.get();
  clock.advance(30_000);
  await t.rejects(stuck, { message: /did not answer within 30 s/ });
  t.ok(calls[0]?.signal.aborted);
  clock.advance(1000);
  const waiting = source.get();
  source.close();
  await t.rejects(waiting, { message: /stopping/ });
  await t.rejects(source.get(), { code: 'daemon-stopping' });
  t.equal(calls.length, 2, 'a closed source asks nobody');
});

t.test('in its last seconds a token is replaced first, and used where no other can be had', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  await first;
  clock.advance(HOUR - 20_000);
  const waiting = source.get();
  calls[1]?.reject(new Error('offline'));
  t.equal((await waiting).value, 'a', 'the failure costs nothing yet');
  t.equal((await source.get()).value, 'a', 'and is not repeated at once');
  t.equal(calls.length, 2);
  clock.advance(20_000);
  const late = source.get();
  calls[2]?.reject(new Error('offline'));
  await t.rejects(late, { message: 'offline' }, 'an expired token is nobody’s way out');
});

t.test('a token that failed to be renewed early is used until its end, and the pause is kept', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  await first;
  clock.advance(56 * MINUTE);
  await source.get();
  calls[1]?.reject(new Error('offline'));
  await settle();
  t.equal((await source.get()).value, 'a');
  t.equal(calls.length, 2);
  clock.advance(1000);
  await source.get();
  t.equal(calls.length, 3);
});

t.test('a wall clock that was set back does not lengthen the life of a token', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  await first;
  clock.sleepMachine(-5 * HOUR);
  clock.advance(HOUR);
  const next = source.get();
  t.equal(calls.length, 2);
  calls[1]?.resolve({ value: 'b', expiresAt: clock.now() + HOUR });
  t.equal((await next).value, 'b');
});

t.test('a source of short or spent tokens is not asked at every call', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + 2 * MINUTE });
  await first;
  await source.get();
  clock.advance(59_000);
  await source.get();
  t.equal(calls.length, 1, 'half of its life is waited for');
  clock.advance(MINUTE + 1000);
  const spent = source.get();
  calls[1]?.resolve({ value: 'b', expiresAt: clock.now() - 1 });
  await t.rejects(spent, { code: 'clock-skewed', message: /expired already.*clock/ });
  await t.rejects(source.get(), { code: 'clock-skewed' });
  t.equal(calls.length, 2);
});

t.test('a refused token is not the way out of a failed renewal', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.resolve({ value: 'a', expiresAt: clock.now() + HOUR });
  const a = await first;
  clock.advance(HOUR - 20_000);
  const waiting = source.get();
  source.invalidate(a);
  calls[1]?.reject(new Error('offline'));
  await t.rejects(waiting, { message: 'offline' });
});

t.test('after a failure nobody waits for more than three seconds for the next attempt', async (t) => {
  const { source, calls, clock } = scripted();
  const first = source.get();
  calls[0]?.reject(new Error('log in'));
  await t.rejects(first, { message: 'log in' });
  clock.advance(1000);
  const waiting = Array.from({ length: 50 }, () => source.get());
  for (const one of waiting) one.catch(() => {});
  t.equal(calls.length, 2);
  clock.advance(2500);
  await Promise.all(waiting.map((one) => t.rejects(one, { message: 'log in' }, 'what is known is told')));
  const late = source.get();
  calls[1]?.resolve({ value: 'b' });
  t.equal((await late).value, 'b', 'the attempt went on');
  t.equal(clock.pendingTimers, 0);
});

t.test('Google refuses token after token: the pause between them grows', async (t) => {
  const { source, calls, clock } = scripted();
  const next = async (value: string): Promise<AccessToken> => {
    const got = source.get();
    calls.at(-1)?.resolve({ value, expiresAt: clock.now() + HOUR });
    return await got;
  };
  const a = await next('a');
  source.invalidate(a);
  const b = await next('b');
  t.equal(b.value, 'b', 'the first refusal is answered at once');
  source.invalidate(b);
  t.equal((await source.get()).value, 'b', 'the second is not');
  t.equal(calls.length, 2);
  clock.advance(1000);
  source.invalidate(b);
  t.equal((await next('c')).value, 'c');
});
