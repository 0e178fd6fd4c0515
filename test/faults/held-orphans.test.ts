import { holderWords } from '../../src/relays/survive/holder-frames.js';
import { containerStories } from '../support/container-stories.js';

const SETS = ['debian', 'python', 'script', 'busybox', 'bash'] as const;
const WITH_TERMINALS = ['debian', 'python', 'script', 'bash'] as const;

/** A first process that hears of nobody's end but its own children's is what most containers have. */
const stories = containerStories(SETS, { countsOrphans: true });

stories(
  'a daemon that does not come back',
  async (_t, container) => {
    const session = container.session(['cat'], { lingerSeconds: 1 });
    const exec = session.exec();
    await exec.hold();
    exec.cut();
    await session.over();
  },
  // A shell looks every five seconds.
  ['debian', 'python', 'script'],
);

stories('a command that ends', async (t, container) => {
  const exec = container.session(['sh', '-c', 'seq 200000; seq 2000 >&2; exit 3']).exec();
  await exec.hold();
  t.equal(await exec.finish(), 3);
});

stories('input, its end, and cuts', async (t, container) => {
  const session = container.session(['cat']);
  let exec = session.exec();
  await exec.hold();
  const piece = 'x'.repeat(100_000);
  for (let sent = 0; sent < 3 * piece.length; ) {
    exec.input(sent, piece);
    sent += piece.length;
    while (session.received.out < sent) await session.wakeup();
    exec.cut();
    exec = session.exec();
    t.equal((await exec.hold()).taken, sent);
  }
  exec.send(holderWords.endOfInput(3 * piece.length));
  t.equal(await exec.finish(), 0);
});

stories('a command that ends before its input', async (t, container) => {
  for (let round = 0; round < 3; round++) {
    const exec = container.session(['sh', '-c', 'read -r a; sleep 0.2; exit 5']).exec();
    const { program } = await exec.hold();
    const piece = Buffer.alloc(64 * 1024, 'x\n');
    for (let n = 0; n < 16; n++) exec.send(holderWords.input(program, n * piece.length, piece));
    t.equal(await exec.finish(), 5);
  }
});

stories('another call takes over from one that does not know that it is cut', async (t, container) => {
  const session = container.session(['sh', '-c', 'echo a; read -r b; echo $b']);
  const first = session.exec();
  await first.hold();
  await first.until(/a\n/);
  first.cut({ halfOpen: true });
  const second = session.exec();
  await second.hold();
  second.input(0, 'b\n');
  t.equal(await second.finish(), 0);
  await first.exited;
});

stories('a client that leaves while its command is silent, and writes later', async (_t, container) => {
  const session = container.session(['sh', '-c', 'sleep 0.5; seq 100000; sleep 0.5; seq 100000']);
  const exec = session.exec();
  await exec.hold();
  exec.send(holderWords.leave(0));
  await session.over();
});

stories('a client that leaves while its command writes', async (_t, container) => {
  const session = container.session(['seq', '1000000']);
  const exec = session.exec();
  await exec.hold();
  while (session.received.out < 2_000_000) await session.wakeup();
  exec.send(holderWords.leave(0));
  await session.over();
});

stories(
  'a terminal, cut and ended',
  async (t, container) => {
    const session = container.session(['sh', '-c', 'echo a; read -r b; exit 4'], { tty: true, stderr: false });
    let exec = session.exec();
    await exec.hold();
    await exec.until(/a\r\n/);
    exec.cut();
    exec = session.exec();
    await exec.hold();
    exec.send(holderWords.size(80, 24));
    exec.input(0, 'b\r');
    t.equal(await exec.finish(), 4);
  },
  WITH_TERMINALS,
);

stories(
  'a client that leaves before its terminal is there',
  async (_t, container) => {
    for (let round = 0; round < 4; round++) {
      const session = container.session(['sleep', '100'], { tty: true, stderr: false });
      const exec = session.exec();
      await exec.hold();
      exec.send(holderWords.leave(0));
      await session.over();
    }
  },
  WITH_TERMINALS,
);
