import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { ProcessGroup } from '../../../src/emulator/pods/process-program.js';

const onWindows = process.platform === 'win32' && 'Windows has no groups';

/** A leader whose end is told by its `exit`, and that says when it is there. */
async function leader(t: Test, script: string): Promise<ChildProcess> {
  const child = spawn('sh', ['-c', script], { detached: true, stdio: ['pipe', 'pipe', 'ignore'] });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout ?? child, 'data');
  return child;
}

t.test('what a program left behind ends with its group', { skip: onWindows }, async (t) => {
  const child = await leader(t, 'sleep 1000 & echo ready; exit');
  const group = new ProcessGroup(child.pid);
  if (child.exitCode === null) await once(child, 'exit');
  group.leaderEnded();
  t.notOk(group.isGone());
  group.kill('SIGKILL');
  // The last that had the output open.
  await once(child, 'close');
  t.equal(child.stdout?.readableEnded, true);
});

t.test(
  'a group whose number is another’s by now is gone, and its killing meets nobody',
  { skip: onWindows },
  async (t) => {
    const another = await leader(t, 'echo ready; read line; exit 5');
    const group = new ProcessGroup(another.pid);
    t.notOk(group.isGone());
    group.leaderEnded();
    t.ok(group.isGone());
    group.kill('SIGKILL');
    another.stdin?.end();
    t.strictSame(await once(another, 'exit'), [5, null]);
  },
);
