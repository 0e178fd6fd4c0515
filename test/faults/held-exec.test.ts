import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CUT_FORMS } from '../../src/emulator/google/faults.js';
import { HeldScene } from '../support/held-scene.js';

const SETS = ['debian', 'python', 'script', 'busybox', 'bash'] as const;

t.test('every form of a cut, in every container', async (t) => {
  const scene = await HeldScene.open(t, SETS);
  for (const set of SETS) {
    await t.test(set, async (t) => {
      const client = scene.exec(set, ['sh', '-c', 'while read -r a; do echo "got $a"; done; echo err >&2; exit 4']);
      let expected = '';
      for (const form of CUT_FORMS) {
        await client.type(`${form}\n`);
        expected += `got ${form}\n`;
        await client.until(expected.length);
        t.equal(scene.cut(form), 1);
      }
      await client.endInput();
      t.equal(await client.exitCode(), 4);
      t.equal(client.out, expected);
      t.equal(client.err, 'err\n');
      await scene.untilClean();
    });
  }
});

t.test('a terminal: a shell with all that it has', async (t) => {
  const scene = await HeldScene.open(t, ['debian', 'python', 'script']);
  for (const set of ['debian', 'python', 'script'] as const) {
    const client = scene.exec(set, ['bash', '--norc', '-i'], { tty: true });
    await client.resize(101, 32);
    await client.type('X=42; cd /var; sleep 100 &\r');
    await client.until(/\[1\] \d+/);
    scene.cut('reset');
    await client.type('echo x=$X $PWD $(jobs | grep -c Running) $(stty size)\r');
    await client.until(/x=42 \/var 1 32 101\r\n/);
    scene.cut('close-1000');
    await client.resize(80, 24);
    await client.type('kill %1; stty size; exit 5\r');
    t.equal(await client.exitCode(), 5, set);
    t.match(client.out, /24 80\r\n/);
    t.notMatch(client.out, /connect-gateway-proxy/, 'nobody is told of anything');
    await scene.untilClean();
  }
});

t.test('an upload and a download of 10 MB, cut after every megabyte', async (t) => {
  const scene = await HeldScene.open(t, ['debian', 'python', 'busybox']);
  const bytes = randomBytes(10 * 1024 * 1024);
  const file = join(scene.folder, 'file');
  for (const set of ['debian', 'python', 'busybox'] as const) {
    const up = scene.exec(set, ['sh', '-c', `cat > ${file}; cat ${file} | sha256sum`]);
    for (let at = 0; at < bytes.length; at += 32 * 1024) {
      await up.type(bytes.subarray(at, at + 32 * 1024));
      if (at % (1024 * 1024) === 512 * 1024) scene.cut('reset');
      if (at % (256 * 1024) === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await up.endInput();
    t.equal(await up.exitCode(), 0, set);
    t.match(up.out, createHash('sha256').update(bytes).digest('hex'), 'what arrived is what was sent');
    const down = scene.exec(set, ['cat', file]);
    for (let at = 1; at < 10; at++) {
      await down.until(at * 1024 * 1024);
      scene.cut('reset');
    }
    t.equal(await down.exitCode(), 0, set);
    t.ok(Buffer.from(down.out, 'latin1').equals(bytes), 'every byte once, in order');
    await scene.untilClean();
  }
});

t.test('where nothing can be held, the command runs all the same, and at once the next time', async (t) => {
  const scene = await HeldScene.open(t, ['none', 'busybox', 'debian']);
  for (let i = 0; i < 2; i++) {
    const noShell = scene.exec('none', ['echo', 'hello']);
    t.equal(await noShell.exitCode(), 0);
    t.equal(noShell.out, 'hello\n');
    const noTerminal = scene.exec('busybox', ['sh', '-c', 'stty size; exit 3'], { tty: true });
    t.equal(await noTerminal.exitCode(), 3);
    t.match(noTerminal.out, /^\d+ \d+\r\n$/);
    const missing = scene.exec('debian', ['no-such-program']);
    t.equal(await missing.exitCode(), 1);
    t.match(missing.status.message, /exec: "no-such-program": executable file not found in \$PATH/);
  }
  const held = scene.exec('debian', ['cat']);
  await held.type('x');
  await held.until(/x/);
  t.equal(scene.leftovers().length, 1, 'a program that is missing says nothing of its container');
  await held.endInput();
  await held.exitCode();
});

t.test('the client leaves: the terminal is hung up, and nothing is left', async (t) => {
  const scene = await HeldScene.open(t, ['debian', 'python', 'script']);
  for (const set of ['debian', 'python', 'script'] as const) {
    const client = scene.exec(set, ['bash', '--norc', '-i'], { tty: true });
    await client.type('sleep 1234\r');
    await client.until(/1234\r\n/);
    client.webSocket.terminate();
    await scene.untilClean();
    t.pass(set);
    // In a gap as well.
    const second = scene.exec(set, ['bash', '--norc', '-i'], { tty: true });
    await second.type('echo $((40+2))\r');
    await second.until(/42\r\n/);
    scene.cut('reset');
    second.webSocket.close();
    await scene.untilClean();
  }
});

t.test('a pod that is deleted, a container that ends: the reason is told', async (t) => {
  const scene = await HeldScene.open(t, ['debian', 'python']);
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

t.test('a command is started once, however often its start is cut', async (t) => {
  const scene = await HeldScene.open(t, ['debian', 'python', 'script']);
  for (const set of ['debian', 'python', 'script'] as const) {
    for (const cutAfterBytes of [1, 3, 10, 30, 60]) {
      const mark = join(scene.folder, `mark-${set}-${cutAfterBytes}`);
      scene.daemon.emulator.faults.add({ cutAfterBytes, form: 'reset', match: 'upgrade', times: 2 });
      const client = scene.exec(set, ['sh', '-c', `mkdir ${mark} || exit 9; echo done`]);
      t.equal(await client.exitCode(), 0, `${set} after ${cutAfterBytes} bytes ${JSON.stringify(client.status)}`);
      t.equal(client.out, 'done\n');
      t.ok(existsSync(mark));
      scene.daemon.emulator.faults.clear();
    }
    await scene.untilClean();
  }
});
