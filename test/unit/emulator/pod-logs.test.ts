import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { LogStore } from '../../../src/emulator/pods/log-store.js';
import type { LogOptions } from '../../../src/emulator/pods/pod-runtime.js';
import { createBench, FakeClock, RemoteClient } from './pod-bench.js';

const PLAIN = { follow: false, timestamps: false };
const ALL: LogOptions = { ...PLAIN, previous: false };
const never = new AbortController().signal;

function createStore(capacityBytes = 1024 * 1024) {
  const clock = new FakeClock();
  const store = new LogStore({ clock, capacityBytes });
  return { clock, store, say: (line: string) => store.append('stdout', Buffer.from(line)) };
}

/** What a reader has given so far. */
function collect(reader: Readable): { text: string; ended: Promise<void> } {
  const collected = {
    text: '',
    ended: new Promise<void>((resolve) => reader.once('end', resolve)),
  };
  reader.on('data', (chunk: Buffer) => {
    collected.text += chunk.toString();
  });
  return collected;
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
}

t.test('every line has a timestamp of its own, with nine digits, also in one millisecond', async (t) => {
  const { clock, store, say } = createStore();
  say('one\ntwo\n');
  clock.advance(1);
  say('three\n');
  t.equal(
    await text(store.open({ ...PLAIN, timestamps: true })),
    '2026-11-23T20:28:25.342000000Z one\n2026-11-23T20:28:25.342000001Z two\n2026-11-23T20:28:25.343000000Z three\n',
  );
});

t.test('a clock that goes back does not take the lines with it', async (t) => {
  let now = 5000;
  const store = new LogStore({
    clock: { now: () => now, monotonic: () => 0, after: () => () => {} },
    capacityBytes: 1000,
  });
  store.append('stdout', Buffer.from('a\n'));
  now = 1000;
  store.append('stdout', Buffer.from('b\n'));
  t.match(await text(store.open({ ...PLAIN, timestamps: true })), /05\.000000000Z a\n.*05\.000000001Z b\n$/);
});

t.test('sinceTime, tailLines and limitBytes cut as the kubelet does', async (t) => {
  const { clock, store, say } = createStore();
  for (let line = 1; line <= 5; line++) {
    say(`line ${line}\n`);
    clock.advance(1000);
  }
  const start = Date.UTC(2026, 10, 23, 20, 28, 27);
  t.equal(await text(store.open({ ...PLAIN, sinceTime: start })), 'line 3\nline 4\nline 5\n');
  t.equal(await text(store.open({ ...PLAIN, tailLines: 2 })), 'line 4\nline 5\n');
  t.equal(await text(store.open({ ...PLAIN, tailLines: 0 })), '');
  t.equal(await text(store.open({ ...PLAIN, tailLines: 99 })), 'line 1\nline 2\nline 3\nline 4\nline 5\n');
  t.equal(await text(store.open({ ...PLAIN, tailLines: 4, sinceTime: start })), 'line 3\nline 4\nline 5\n');
  t.equal(await text(store.open({ ...PLAIN, limitBytes: 10 })), 'line 1\nlin');
  t.equal(await text(store.open({ ...PLAIN, limitBytes: 0 })), '');
  t.equal(
    await text(store.open({ follow: true, timestamps: false, limitBytes: 3, tailLines: 1 })),
    'lin',
    'a follower ends at its limit',
  );
});

t.test('a line in pieces is one line with the timestamp of its first piece', async (t) => {
  const { clock, store, say } = createStore();
  const follower = collect(store.open({ follow: true, timestamps: false }));
  say('he');
  await settled();
  t.equal(follower.text, '', 'a short piece waits for its newline');
  clock.advance(5);
  say('llo\nrest');
  await settled();
  t.equal(follower.text, 'hello\n');
  const long = 'x'.repeat(40_000);
  say(`${long}\nafter\n`);
  await settled();
  t.equal(follower.text, `hello\nrest${long}\nafter\n`);
  const lines = (await text(store.open({ ...PLAIN, timestamps: true }))).split('\n');
  t.equal(lines.length, 4);
  t.equal(lines[1]?.length, '2026-11-23T20:28:25.342000000Z '.length + 4 + 40_000);
  t.equal(
    await text(store.open({ ...PLAIN, tailLines: 2 })),
    `rest${long}\nafter\n`,
    'tailLines counts lines, not pieces',
  );
});

t.test('a long piece is shown before its line ends', async (t) => {
  const { store, say } = createStore();
  const follower = collect(store.open({ follow: true, timestamps: false }));
  say('y'.repeat(20_000));
  await settled();
  t.equal(follower.text.length, 16_384);
  store.end();
  await follower.ended;
  t.equal(follower.text, `${'y'.repeat(20_000)}\n`);
});

t.test('lines of stdout and stderr do not run into one another', async (t) => {
  const { store, say } = createStore();
  say('out ');
  store.append('stderr', Buffer.from('error\n'));
  say('line\n');
  t.equal(await text(store.open(PLAIN)), 'error\nout line\n');
});

t.test('a last line without newline is whole once the container has ended', async (t) => {
  const { store, say } = createStore();
  say('done\npartial');
  const follower = collect(store.open({ follow: true, timestamps: false }));
  await settled();
  t.equal(follower.text, 'done\n');
  store.end();
  await follower.ended;
  t.equal(follower.text, 'done\npartial\n');
  t.equal(await text(store.open({ ...PLAIN, tailLines: 1 })), 'partial\n');
});

t.test('a follower gets each line once, at once, and ends with its signal', async (t) => {
  const { store, say } = createStore();
  say('old\n');
  const controller = new AbortController();
  const follower = collect(store.open({ follow: true, timestamps: false, tailLines: 1 }, controller.signal));
  await settled();
  for (let line = 0; line < 100; line++) say(`${line}\n`);
  await settled();
  t.equal(follower.text, `old\n${Array.from({ length: 100 }, (_, line) => `${line}\n`).join('')}`);
  controller.abort();
  await follower.ended;
  say('late\n');
  t.notMatch(follower.text, /late/);
});

t.test('the store keeps the newest bytes, and a slow reader loses only what was dropped', async (t) => {
  const { store, say } = createStore(64 * 1024);
  const slow = store.open({ follow: true, timestamps: false });
  for (let line = 0; line < 20_000; line++) say(`line ${line} ${'.'.repeat(20)}\n`);
  store.end();
  const kept = await text(store.open(PLAIN));
  t.ok(kept.length <= 64 * 1024 && kept.length > 32 * 1024, `${kept.length} bytes`);
  t.match(kept, /line 19999 \.+\n$/);
  const lines = (await text(slow)).split('\n').filter((line) => line !== '');
  const numbers = lines.map((line) => Number(line.split(' ')[1]));
  t.same(
    numbers,
    [...numbers].sort((a, b) => a - b),
  );
  t.equal(numbers.at(-1), 19_999);
  t.equal(new Set(numbers).size, numbers.length);
});

t.test('a follower of a container ends when it restarts, and its log is the previous one', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({
    command: ['sh', '-c', 'echo run; if test -e again; then sleep 1000; fi; touch again; read x; exit 3'],
    stdin: true,
  });
  t.throws(() => bench.runtime.openLog(uid, 'main', { ...ALL, previous: true }, never), {
    message: /previous terminated container/,
  });
  t.throws(() => bench.runtime.openLog(uid, 'other', ALL, never), /other is not valid/);
  t.throws(() => bench.runtime.openLog('nopod', 'main', ALL, never), { code: 'emulator-not-found' });
  const follower = collect(bench.runtime.openLog(uid, 'main', { ...ALL, follow: true }, never));
  const client = new RemoteClient(bench.url(uid, 'attach', { stdin: 'true', stdout: 'true' }));
  await client.opened;
  await client.send(0, 'go\n');
  await follower.ended;
  t.equal(follower.text, 'run\n');
  t.match((await client.result).status, { status: 'Success' }, 'an attachment ends with the instance');
  const status = await bench.until(uid, ({ restartCount, state }) => restartCount === 1 && state.kind === 'running');
  t.match(status.lastTermination, { kind: 'terminated', exitCode: 3 });
  t.equal(await text(bench.runtime.openLog(uid, 'main', { ...ALL, previous: true }, never)), 'run\n');
});
