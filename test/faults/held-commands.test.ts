import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { processTree } from '../../src/emulator/pods/process-tree.js';
import { holderWords } from '../../src/relays/survive/holder-frames.js';
import { containerStories } from '../support/container-stories.js';
import type { LocalContainer } from '../support/local-exec.js';

/** Each gives another holder: Perl, Python, and the shell as dash, busybox and bash. */
const SETS = ['debian', 'python', 'script', 'busybox', 'bash'] as const;
const SHELLS = ['script', 'busybox', 'bash'] as const;

const stories = containerStories(SETS);

stories('stdout and stderr apart, input, exit code', async (t, container) => {
  const session = container.session(['sh', '-c', 'read a; echo "out $a"; echo err >&2; exit 3']);
  const exec = session.exec();
  t.match(await exec.next(), { kind: 'begun' });
  t.match(await exec.hold(), { taken: 0, from: { out: 0, err: 0 } });
  exec.input(0, 'word\n');
  t.equal(await exec.finish(), 3);
  t.equal(session.text(), 'out word\n');
  t.equal(session.text('err'), 'err\n');
  t.equal(exec.stderr, '');
  t.equal(processTree(exec.child.pid ?? 0).length, 1, 'no process is left');
});

stories('death by a signal is 128 and its number', async (t, container) => {
  const exec = container.session(['sh', '-c', 'kill -KILL $$']).exec();
  await exec.hold();
  t.equal(await exec.finish(), 137);
});

stories('a command that is not there is left to the runtime', async (t, container) => {
  for (const [command, reason] of [
    [['no-such-program'], 'exec-2'],
    [[`${container.folder}/no-such-program`], 'exec-2'],
  ] as const) {
    const exec = container.session(command).exec();
    let frame = await exec.next();
    if (frame.kind === 'begun') frame = await exec.next();
    t.strictSame(frame, { kind: 'plain', reason });
    await exec.exited;
  }
});

stories('cuts: input and output once each, in order', async (t, container) => {
  const session = container.session(['sh', '-c', 'while read -r a; do echo "got $a"; done; echo end >&2']);
  let sent = 0;
  let exec = session.exec();
  await exec.hold();
  const lines: string[] = [];
  for (let i = 0; i < 6; i++) {
    lines.push(`line ${i}\n`);
    // What a daemon would: all that it does not know to have arrived, which the command has in part.
    const all = lines.join('');
    exec.input(sent, all.slice(sent));
    if (i % 3 !== 2) await exec.until(new RegExp(`got line ${i}\n`));
    exec.cut();
    exec = session.exec();
    const { taken } = await exec.hold();
    t.ok(taken <= all.length && taken >= sent, `${taken} of ${all.length}`);
    sent = taken;
  }
  exec.input(sent, lines.join('').slice(sent));
  exec.send(holderWords.endOfInput(lines.join('').length));
  t.equal(await exec.finish(), 0);
  t.equal(session.text(), lines.map((line) => `got ${line}`).join(''));
  t.equal(session.text('err'), 'end\n');
});

stories('a cut in the middle of a piece of input', async (t, container) => {
  const session = container.session(['sha256sum']);
  const bytes = randomBytes(100_000);
  let exec = session.exec();
  await exec.hold();
  exec.input(0, bytes.subarray(0, 40_000));
  exec.send(holderWords.input('perl', 40_000, bytes.subarray(40_000, 70_000)).subarray(0, 12_345));
  exec.cut();
  exec = session.exec();
  const { taken } = await exec.hold();
  t.ok(taken <= 40_000, 'no part of a piece is taken');
  exec.input(taken, bytes.subarray(taken));
  exec.send(holderWords.endOfInput(bytes.length));
  t.equal(await exec.finish(), 0);
  t.equal(session.text().slice(0, 64), createHash('sha256').update(bytes).digest('hex'));
});

stories('much output over many cuts', async (t, container) => {
  const MANY = 200_000;
  const session = container.session(['sh', '-c', `seq ${MANY}; echo end >&2`]);
  let exec = session.exec();
  await exec.hold();
  for (let cuts = 1; cuts <= 5; cuts++) {
    while (session.received.out < cuts * 250_000) await session.wakeup();
    // What is on its way at a cut has been sent, and not heard.
    exec.acknowledging = cuts % 2 === 0;
    exec.cut();
    exec = session.exec();
    await exec.hold();
  }
  t.equal(await exec.finish(), 0);
  const expected = execFileSync('seq', [String(MANY)], { maxBuffer: 1e8 });
  t.ok(Buffer.concat(session.output.out).equals(expected), 'every byte once, in order');
  t.equal(session.text('err'), 'end\n');
});

stories(
  'a file of output that begins for whoever has come, while that still sends the one before, is sent once',
  async (t, container) => {
    const MIB = 1024 * 1024;
    const expected = execFileSync('seq', ['2000000'], { maxBuffer: 1e8 }).subarray(0, 9 * MIB);
    writeFileSync(join(container.folder, 'all'), expected);
    // Written as a shell reads, so that no read falls short: its files are of 1, 1 and 4 MiB, and it waits for its listener.
    const session = container.session(['dd', 'if=all', 'bs=16384']);
    const first = session.exec();
    first.acknowledging = false;
    await first.hold();
    const [folder = ''] = container.leftovers;
    const path = (name: string): string => join(container.folder, 'tmp', folder, name);
    const until = async (name: string, wanted: string): Promise<void> => {
      while (readFileSync(path(name), 'latin1') !== wanted) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    await until('out.end', `${6 * MIB}\n`);
    while (session.received.out < 6 * MIB) await session.wakeup();
    first.send(holderWords.got({ out: MIB, err: 0 }));
    await until('map', `1 0 2 ${MIB} ${2 * MIB} ${6 * MIB}\n`);
    first.cut();
    session.lose(MIB);
    const second = session.exec();
    await second.hold();
    while (session.received.out < 2 * MIB) await session.wakeup();
    second.child.stdout?.pause();
    await until('map', `2 ${6 * MIB} 3 ${2 * MIB} ${6 * MIB}\n`);
    // A pipe's fill of it waits for the second.
    while ((statSync(path('out.4'), { throwIfNoEntry: false })?.size ?? 0) < 65536) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    second.child.stdout?.resume();
    t.equal(await second.finish(), 0);
    t.equal(session.received.out, expected.length);
    t.ok(Buffer.concat(session.output.out).equals(expected), 'every byte once, in order');
  },
  SHELLS,
);

stories('much of both outputs at once, over a cut: kept apart, every byte once', async (t, container) => {
  const session = container.session(['sh', '-c', 'seq 60000 & seq 70000 >&2; wait']);
  let exec = session.exec();
  await exec.hold();
  while (session.received.err < 150_000) await session.wakeup();
  exec.cut();
  exec = session.exec();
  await exec.hold();
  t.equal(await exec.finish(), 0);
  for (const [stream, last] of [
    ['out', '60000'],
    ['err', '70000'],
  ] as const) {
    t.ok(Buffer.concat(session.output[stream]).equals(execFileSync('seq', [last])), stream);
  }
});

stories('output that is acknowledged by joining again alone', async (t, container) => {
  const session = container.session(['sh', '-c', 'while read -r a; do echo "got $a"; done']);
  let exec = session.exec();
  await exec.hold();
  let sent = 0;
  // In all more pieces than a shell keeps.
  for (let line = 10; line < 28; line++) {
    exec.acknowledging = false;
    exec.input(sent, `${line}\n`);
    sent += 3;
    await exec.until(new RegExp(`got ${line}\n`));
    if (line % 6 !== 0) continue;
    exec.cut();
    exec = session.exec();
    t.equal((await exec.hold()).taken, sent);
  }
  exec.send(holderWords.endOfInput(sent));
  t.equal(await exec.finish(), 0);
});

stories('bytes of every kind, in pieces of every size', async (t, container) => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  const session = container.session(['cat']);
  const exec = session.exec();
  await exec.hold();
  let sent = Buffer.alloc(0);
  for (let i = 0; i < 256; i += 32) {
    for (const piece of [
      all.subarray(i, i + 1),
      all.subarray(i, i + 32),
      Buffer.from([i, 10, 10]),
      Buffer.from([10]),
    ]) {
      exec.input(sent.length, piece);
      sent = Buffer.concat([sent, piece]);
      while (session.received.out < sent.length) await session.wakeup();
    }
  }
  exec.send(holderWords.endOfInput(sent.length));
  await exec.finish();
  t.ok(Buffer.concat(session.output.out).equals(sent));
});

stories('a command whose output nobody takes is stopped from writing', async (t, container) => {
  const progress = join(container.folder, 'progress');
  const stop = join(container.folder, 'stop');
  const session = container.session([
    'sh',
    '-c',
    `n=0; while [ ! -e ${stop} ]; do printf %065536d 0; n=$((n+1)); echo $n > ${progress}; done`,
  ]);
  const exec = session.exec();
  exec.acknowledging = false;
  await exec.hold();
  let last = -1;
  for (let quiet = 0; quiet < 4; ) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    const now = session.received.out;
    quiet = now === last && now > 0 ? quiet + 1 : 0;
    last = now;
  }
  const pieces = Number(readFileSync(progress, 'latin1'));
  // A shell keeps two files of 4 MiB, the others 2 MiB in memory; what is in pipes comes on top.
  const mostKib = (exec.program === 'sh' ? 9 : 3) * 1024;
  t.ok(pieces * 64 <= mostKib, `it wrote ${pieces * 64} KiB`);
  const [folder = ''] = container.leftovers;
  const used = execFileSync('du', ['-sk', join(container.folder, 'tmp', folder)], { encoding: 'utf8' });
  t.ok(Number.parseInt(used, 10) <= mostKib, `of the disk, ${used.split('\t')[0]} KiB`);
  exec.acknowledging = true;
  exec.send(holderWords.got(session.received));
  while (session.received.out <= last + 512 * 1024) await session.wakeup();
  writeFileSync(stop, '');
  t.equal(await exec.finish(), 0);
});

/** The process that is the parent of the command. */
function holderOf(container: LocalContainer): number {
  const [folder = ''] = container.leftovers;
  return Number(readFileSync(join(container.folder, 'tmp', folder, 'pid'), 'latin1').split(' ')[0]);
}

stories('another call takes over from one that does not know that it is cut', async (t, container) => {
  const session = container.session(['sh', '-c', 'while read -r a; do echo "got $a"; done']);
  const first = session.exec();
  await first.hold();
  first.input(0, 'one\n');
  await first.until(/got one/);
  const second = session.exec();
  t.equal((await second.hold()).taken, 4);
  t.match(await first.next(), { kind: 'taken' });
  // What the first still sends, it was given by the same client: it is the same input.
  first.input(4, 'two\n');
  second.input(4, 'two\nthree\n');
  await second.until(/got three/);
  const late = session.exec({ turn: 1, received: { out: 0, err: 0 } });
  t.match(await late.next(), { kind: 'taken' }, 'an older call that comes late is sent away');
  second.send(holderWords.endOfInput(14));
  t.equal(await second.finish(), 0);
  t.equal(session.text(), 'got one\ngot two\ngot three\n');
});

stories('two calls to start it: it runs once', async (t, container) => {
  const starts = join(container.folder, 'starts');
  const session = container.session(['sh', '-c', `printf x >> ${starts}; echo started; cat`]);
  const [first, second] = [session.exec(), session.exec({ verb: 'start', received: { out: 0, err: 0 } })];
  // Once either has said anything it has looked for the other.
  await Promise.all([first.next(), second.hold()]);
  await second.until(/started/);
  first.cut();
  second.send(holderWords.endOfInput(0));
  t.equal(await second.finish(), 0);
  t.equal(session.text(), 'started\n');
  await Promise.all([first.exited, second.exited]);
  t.equal(readFileSync(starts, 'latin1'), 'x');
});

stories(
  'a start that was cut comes when its successor’s command has ended and been heard: it runs once',
  async (t, container) => {
    const starts = join(container.folder, 'starts');
    const session = container.session(['sh', '-c', `printf x >> ${starts}; echo ran`]);
    const second = session.exec({ turn: 2 });
    await second.hold();
    // Seconds, where the daemon says a minute.
    second.send(holderWords.refuse(8));
    const frame = await second.next();
    t.match(frame, { kind: 'exit', code: 0 });
    second.send(holderWords.done);
    t.match(await second.next(), { kind: 'bye' });
    const [folder = ''] = container.leftovers;
    const pid = join(container.folder, 'tmp', folder, 'pid');
    while (existsSync(pid)) await new Promise((resolve) => setTimeout(resolve, 10));
    const late = session.exec({ verb: 'start', turn: 1, received: { out: 0, err: 0 } });
    t.match(await late.next(), { kind: 'gone' });
    await late.exited;
    t.equal(readFileSync(starts, 'latin1'), 'x');
    await session.over();
  },
);

stories('what ends while nobody listens is told to who comes', async (t, container) => {
  const session = container.session(['sh', '-c', 'read a; sleep 0.2; echo late; exit 7']);
  let exec = session.exec();
  await exec.hold();
  exec.input(0, 'go\n');
  exec.cut();
  await new Promise((resolve) => setTimeout(resolve, 600));
  exec = session.exec();
  await exec.hold();
  t.equal(await exec.finish(), 7);
  t.equal(session.text(), 'late\n');
  const late = session.exec();
  t.match(await late.next(), { kind: 'gone' }, 'and after that there is no such session');
});

stories('the client has left: a command without a terminal goes on without a reader', async (t, container) => {
  // Who signals, and who acts upon what is gone already, meet in another way each time.
  for (const stdin of [true, false, true, false]) {
    const done = join(container.folder, 'done');
    const session = container.session(['sh', '-c', `cat; seq 100000; echo $? > ${done}`], { stdin });
    const exec = session.exec();
    await exec.hold();
    exec.send(holderWords.leave(0));
    t.match(await exec.next(), { kind: 'bye' });
    await session.over();
    t.equal(readFileSync(done, 'latin1'), '0\n', 'it has written all, and its input has ended');
    rmSync(done);
  }
});

stories(
  'whoever reads on for a client that has left does not mind the signal that told it to',
  async (t, container) => {
    const [go, done] = [join(container.folder, 'go'), join(container.folder, 'done')];
    // What has been reading already goes with the next that is written.
    const waiting = `until [ -e ${go} ]; do echo; sleep 0.1; done; seq 100000; echo $? > ${done}`;
    const session = container.session(['sh', '-c', waiting], { stdin: false });
    const exec = session.exec();
    const { program } = await exec.hold();
    exec.send(holderWords.leave(0));
    t.match(await exec.next(), { kind: 'bye' });
    // Perl and Python read themselves.
    if (program === 'sh') {
      let reader: number | undefined;
      while (reader === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        reader = processTree(exec.child.pid ?? 0).find(readsOutput);
      }
      process.kill(reader, 'SIGTERM');
    }
    writeFileSync(go, '');
    await session.over();
    t.equal(readFileSync(done, 'latin1'), '0\n');
  },
);

/** Whether it is a `cat` of what a held command writes. */
function readsOutput(pid: number): boolean {
  try {
    const isCat = readFileSync(`/proc/${pid}/cmdline`, 'latin1') === 'cat\0';
    return isCat && /\/out(?: \(deleted\))?$/.test(readlinkSync(`/proc/${pid}/fd/0`));
  } catch {
    // It has ended meanwhile.
    return false;
  }
}

stories('a daemon that does not come back is waited for, and no longer', async (t, container) => {
  const session = container.session(['sh', '-c', 'cat; echo over >&2'], { lingerSeconds: 1 });
  const exec = session.exec();
  await exec.hold();
  exec.cut();
  await session.over();
  t.match(await session.exec().next(), { kind: 'gone' });
});

stories('what a killed holder has left is removed by the next session', async (t, container) => {
  const stale = join(container.folder, 'tmp', `.connect-gateway-proxy-${'0'.repeat(32)}`);
  mkdirSync(stale, { mode: 0o700 });
  writeFileSync(join(stale, 'pid'), '999999999 5\n');
  const others = join(container.folder, 'tmp', `.connect-gateway-proxy-${'1'.repeat(32)}`);
  const living = container.session(['cat']);
  const exec = living.exec();
  await exec.hold();
  while (container.leftovers.length > 1) await new Promise((resolve) => setTimeout(resolve, 20));
  t.throws(() => statSync(stale));
  t.throws(() => statSync(others));
  const second = container.session(['true']).exec();
  await second.hold();
  await second.finish();
  t.equal(container.leftovers.length, 1, 'one that is held is left alone');
  exec.send(holderWords.endOfInput(0));
  await exec.finish();
});

stories('a holder that was killed: there is nothing to join', async (t, container) => {
  const session = container.session(['cat']);
  const exec = session.exec();
  await exec.hold();
  const [folder = ''] = container.leftovers;
  execFileSync('kill', ['-KILL', String(holderOf(container)), String(exec.child.pid)]);
  t.match(await session.exec().next(), { kind: 'gone' });
  execFileSync('rm', ['-rf', join(container.folder, 'tmp', folder)]);
});

stories('the folder is gone with its holder: the call ends with its input', async (t, container) => {
  const session = container.session(['cat']);
  const exec = session.exec();
  await exec.hold();
  const [folder = ''] = container.leftovers;
  execFileSync('kill', ['-KILL', String(holderOf(container))]);
  execFileSync('rm', ['-rf', join(container.folder, 'tmp', folder)]);
  exec.cut();
  await exec.exited;
  t.pass('nobody waits for a word that nobody says');
});

stories('nobody else can read anything', async (t, container) => {
  const session = container.session(['cat']);
  const exec = session.exec();
  await exec.hold();
  const [folder = ''] = container.leftovers;
  t.equal(statSync(join(container.folder, 'tmp', folder)).mode & 0o777, 0o700);
  for (const pid of processTree(exec.child.pid ?? 0)) {
    t.notMatch(readFileSync(`/proc/${pid}/cmdline`, 'latin1'), session.name, 'no secret in arguments');
  }
  exec.send(holderWords.endOfInput(0));
  await exec.finish();
});
