import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CUT_FORMS } from '../../src/emulator/google/faults.js';
import type { ToolSet } from '../support/container-tools.js';
import { type ExecClient, HeldScene } from '../support/held-scene.js';

const SETS = ['debian', 'python', 'script', 'busybox', 'bash'] as const;
const TERMINALS = ['debian', 'python', 'script'] as const;
const SHELL = ['bash', '--norc', '-i'];

// The sets go in step: one cut is a cut for all of them.
const scene = await HeldScene.open(t, [...SETS, 'none']);
// Told apart by the second in which they were started: these are left alone until the last story.
const node = await HeldScene.open(t, ['debian', 'script'], { restartPolicy: 'Always' });
const onNode = (['debian', 'script'] as const).map((set) => ({ set, client: node.exec(set, ['cat']) }));

interface Held {
  readonly set: ToolSet;
  readonly client: ExecClient;
}

function inAll(
  sets: readonly ToolSet[],
  command: (set: ToolSet) => readonly string[],
  o: { tty?: boolean } = {},
): { clients: readonly Held[]; all: (step: (held: Held) => Promise<void>) => Promise<void> } {
  const clients = sets.map((set) => ({ set, client: scene.exec(set, command(set), o) }));
  return {
    clients,
    all: async (step) => {
      await Promise.all(clients.map(step));
    },
  };
}

t.test('every form of a cut, in every container', async (t) => {
  const { all } = inAll(SETS, () => ['sh', '-c', 'while read -r a; do echo "got $a"; done; echo err >&2; exit 4']);
  let expected = '';
  for (const form of CUT_FORMS) {
    expected += `got ${form}\n`;
    await all(async ({ client }) => {
      await client.type(`${form}\n`);
      await client.until(expected.length);
    });
    t.equal(scene.cut(form), SETS.length, form);
  }
  await all(async ({ set, client }) => {
    await client.endInput();
    t.equal(await client.exitCode(), 4, set);
    t.equal(client.out, expected, set);
    t.equal(client.err, 'err\n', set);
  });
  await scene.untilClean();
});

t.test('a terminal: a shell with all that it has', async (t) => {
  const { all } = inAll(TERMINALS, () => SHELL, { tty: true });
  await all(async ({ client }) => {
    await client.resize(101, 32);
    await client.type('X=42; cd /var; sleep 100 &\r');
    await client.until(/\[1\] \d+/);
  });
  scene.cut('reset');
  await all(async ({ client }) => {
    await client.type('echo x=$X $PWD $(jobs | grep -c Running) $(stty size)\r');
    await client.until(/x=42 \/var 1 32 101\r\n/);
  });
  scene.cut('close-1000');
  await all(async ({ set, client }) => {
    await client.resize(80, 24);
    await client.type('kill %1; stty size; exit 5\r');
    t.equal(await client.exitCode(), 5, set);
    t.match(client.out, /24 80\r\n/, set);
    t.notMatch(client.out, /connect-gateway-proxy/, `${set}: nobody is told of anything`);
  });
  await scene.untilClean();
});

t.test('an upload and a download of 4 MiB, cut every 512 KiB', async (t) => {
  const sets = ['debian', 'python', 'busybox'] as const;
  const bytes = randomBytes(4 * 1024 * 1024);
  const file = (set: ToolSet): string => join(scene.folder, `file-${set}`);
  const up = inAll(sets, (set) => ['sh', '-c', `cat > ${file(set)}; sha256sum ${file(set)}`]);
  for (let at = 0; at < bytes.length; at += 32 * 1024) {
    await up.all(({ client }) => client.type(bytes.subarray(at, at + 32 * 1024)));
    if (at % (512 * 1024) === 256 * 1024) scene.cut('reset');
    if (at % (128 * 1024) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await up.all(async ({ set, client }) => {
    await client.endInput();
    t.equal(await client.exitCode(), 0, set);
    t.match(client.out, createHash('sha256').update(bytes).digest('hex'), `${set}: what arrived is what was sent`);
  });
  const down = inAll(sets, (set) => ['cat', file(set)]);
  for (let at = 1; at < 8; at++) {
    await down.all(({ client }) => client.until(at * 512 * 1024));
    scene.cut('reset');
  }
  await down.all(async ({ set, client }) => {
    t.equal(await client.exitCode(), 0, set);
    t.ok(Buffer.from(client.out, 'latin1').equals(bytes), `${set}: every byte once, in order`);
  });
  await scene.untilClean();
});

t.test('where nothing can be held, the command runs all the same, and at once the next time', async (t) => {
  for (let i = 0; i < 2; i++) {
    const noShell = scene.exec('none', ['echo', 'hello']);
    const noTerminal = scene.exec('busybox', ['sh', '-c', 'stty size; exit 3'], { tty: true });
    const missing = scene.exec('debian', ['no-such-program']);
    t.equal(await noShell.exitCode(), 0);
    t.equal(noShell.out, 'hello\n');
    t.equal(await noTerminal.exitCode(), 3);
    t.match(noTerminal.out, /^\d+ \d+\r\n$/);
    t.equal(await missing.exitCode(), 1);
    t.match(missing.status.message, /exec: "no-such-program": executable file not found in \$PATH/);
  }
  const held = scene.exec('debian', ['cat']);
  await held.type('x');
  await held.until(/x/);
  t.equal(scene.leftovers().length, 1, 'a program that is missing says nothing of its container');
  await held.endInput();
  await held.exitCode();
  await scene.untilClean();
});

t.test('the client leaves: the terminal is hung up, and nothing is left', async () => {
  const first = inAll(TERMINALS, () => SHELL, { tty: true });
  await first.all(({ client }) => client.type('sleep 1234\r'));
  // A shell that is hung up while it starts a program leaves that alone, with us as without.
  await scene.untilRunning(TERMINALS.length, 'sleep', '1234');
  for (const { client } of first.clients) client.webSocket.terminate();
  await scene.untilClean();
  await scene.untilRunning(0, 'sleep', '1234');
  // In a gap as well.
  const second = inAll(TERMINALS, () => SHELL, { tty: true });
  await second.all(async ({ client }) => {
    await client.type('echo $((40+2))\r');
    await client.until(/42\r\n/);
  });
  scene.cut('reset');
  for (const { client } of second.clients) client.webSocket.close();
  await scene.untilClean();
});

t.test('a command is started once, however often its start is cut', async (t) => {
  for (const cutAfterBytes of [1, 3, 10, 30, 60]) {
    const mark = (set: ToolSet): string => join(scene.folder, `mark-${set}-${cutAfterBytes}`);
    scene.daemon.emulator.faults.add({ cutAfterBytes, form: 'reset', match: 'upgrade', times: 2 * TERMINALS.length });
    const { all } = inAll(TERMINALS, (set) => ['sh', '-c', `mkdir ${mark(set)} || exit 9; echo done`]);
    await all(async ({ set, client }) => {
      const story = `${set} after ${cutAfterBytes} bytes ${JSON.stringify(client.status)}`;
      t.equal(await client.exitCode(), 0, story);
      t.equal(client.out, 'done\n', story);
      t.ok(existsSync(mark(set)));
    });
    scene.daemon.emulator.faults.clear();
  }
  // For a minute an empty folder refuses whatever start may come late.
  await scene.untilEmpty();
  t.ok(scene.leftovers().length > 0);
});

t.test('a pod that is deleted, a container that ends: the reason is told', async (t) => {
  const client = scene.exec('debian', ['cat']);
  await client.type('x');
  await client.until(/x/);
  await scene.client.request('/api/v1/namespaces/default/pods/debian?gracePeriodSeconds=0', { method: 'DELETE' });
  t.equal(await client.exitCode(), 1);
  t.match(client.status.message, /could not be joined again: .*(pod is gone|has ended|container not found)/);
  const killed = scene.exec('python', ['sh', '-c', 'echo $PPID; cat']);
  await killed.until(/\d+\n/);
  process.kill(Number(killed.out.trim()), 'SIGKILL');
  t.equal(await killed.exitCode(), 1);
  t.match(killed.status.message, /what held it is gone/);
});

t.test('a node that is started anew, and its containers with it: the reason is told', async (t) => {
  for (const { client } of onNode) {
    await client.type('x');
    await client.until(/x/);
  }
  node.endContainers();
  for (const { set, client } of onNode) {
    t.equal(await client.exitCode(), 1);
    t.match(
      client.status.message,
      /could not be joined again: its container has ended with exit code 137; it was not/,
      set,
    );
    await node.untilContainerRuns(set);
    // Where the container's files have lasted, the next session removes what is left.
    t.equal(await node.exec(set, ['echo', 'here']).exitCode(), 0);
  }
  await node.untilClean();
});
