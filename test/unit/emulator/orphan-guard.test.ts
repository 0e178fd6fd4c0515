import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';

const PODS = new URL('../../../src/emulator/pods/', import.meta.url);

/** A process that runs `command` as the emulator runs a container's, and says its pid and its last words. */
function runIn(module: string, start: string, command: string): { child: ChildProcess; lines: AsyncIterator<string> } {
  const spec = { command: ['sh', '-c', command], cwd: '/', env: { PATH: process.env['PATH'] }, stdin: false };
  const program = `
    const { ${start} } = await import(${JSON.stringify(new URL(module, PODS).href)});
    await ${start}(${JSON.stringify({ ...spec, endsGroup: true })}, {
      onOutput: (_stream, data) => process.stdout.write(data),
      onExit: (code) => console.log('exit', code),
    });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

async function untilGone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await pause(20);
  }
}

const unix = process.platform === 'win32' ? { skip: 'Windows has no process groups' } : {};

for (const [module, start] of [
  ['process-program.js', 'startPipedProgram'],
  ['terminal.js', 'startTerminalProgram'],
] as const) {
  t.test(`${start}: what it runs does not outlive a killed emulator, nor what that has started`, unix, async (t) => {
    // Whoever loses their terminal is told by HUP, which these do not mind.
    const stubborn = `trap '' HUP; sleep 1000 & echo $$ $!; wait`;
    const { child, lines } = runIn(module, start, stubborn);
    const said = (await lines.next()).value as string;
    const [shell = 0, sleeper = 0] = said.trim().split(' ').map(Number);
    t.ok(shell > 1 && sleeper > 1, said);
    child.kill('SIGKILL');
    await Promise.all([untilGone(shell), untilGone(sleeper)]);
    t.pass('both are gone');
  });
}

t.test('a program that has ended is not looked for any more, and nobody waits for the guard', unix, async (t) => {
  const { child, lines } = runIn('process-program.js', 'startPipedProgram', 'echo hello; exit 3');
  t.equal((await lines.next()).value, 'hello');
  t.equal((await lines.next()).value, 'exit 3');
  const code = await new Promise((resolve) => child.once('exit', resolve));
  t.equal(code, 0);
});
