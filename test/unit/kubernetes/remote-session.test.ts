import t from 'tap';
import { judgeInstance } from '../../../src/kubernetes/container-instance.js';
import {
  attachNotice,
  cutMessage,
  formatAge,
  isBareShell,
  noticeText,
  parseRemoteSession,
  planAfterCut,
  shellNotice,
} from '../../../src/kubernetes/remote-session.js';

const POD = '/api/v1/namespaces/default/pods/box';

/** The target of `exec -it` with this command, as kubectl writes it. */
function execTarget(command: readonly string[], flags = 'stdin=true&stdout=true&tty=true'): string {
  const words = command.map((word) => `command=${encodeURIComponent(word)}`);
  return `${POD}/exec?${[...words, 'container=c', flags].join('&')}`;
}

t.test('a target says what was asked for', async (t) => {
  t.strictSame(parseRemoteSession(execTarget(['sh', '-c', 'echo a&b'])), {
    verb: 'exec',
    tty: true,
    stdin: true,
    stdout: true,
    stderr: false,
    command: ['sh', '-c', 'echo a&b'],
    container: 'c',
    podTarget: POD,
  });
  t.match(parseRemoteSession(`${POD}/attach`), { verb: 'attach', stdin: false, podTarget: POD, command: [] });
  t.equal(parseRemoteSession(`${POD}/exec?tty=false&stdin=0&stdout=1&command=attach`).stdout, true);
  t.equal(parseRemoteSession(`${POD}/exec?command=attach`).verb, 'exec');
});

for (const command of [
  ['sh'],
  ['bash'],
  ['/bin/bash'],
  ['/usr/local/bin/zsh'],
  ['ash'],
  ['dash'],
  ['fish'],
  ['ksh'],
  ['bash', '-l'],
  ['bash', '-i', '-l'],
  ['bash', '-il'],
  ['bash', '--login'],
]) {
  t.test(`${command.join(' ')} at a terminal is a bare shell`, async (t) => {
    t.ok(isBareShell(parseRemoteSession(execTarget(command))));
    t.notOk(isBareShell(parseRemoteSession(execTarget(command, 'stdin=true&stdout=true'))), 'but not without one');
    t.notOk(isBareShell(parseRemoteSession(execTarget(command, 'stdout=true&tty=true'))), 'and not without stdin');
  });
}

for (const command of [
  [],
  [''],
  ['sh', '-c', 'true'],
  ['sh', '-lc', 'true'],
  ['bash', 'script'],
  ['bash', '-'],
  ['bash', '-x'],
  ['bash', '--rcfile', 'f'],
  ['sh/'],
  ['shell'],
  ['env', 'sh'],
  ['python'],
  ['top'],
]) {
  t.test(`"${command.join(' ')}" is not`, async (t) => {
    t.notOk(isBareShell(parseRemoteSession(execTarget(command))));
  });
}

t.test('only what repeats nothing is done again', async (t) => {
  const shell = parseRemoteSession(execTarget(['sh']));
  const plan = { onCutoff: 'reopen', stdinEnded: false } as const;
  t.equal(planAfterCut(shell, plan), 'reopen');
  t.equal(planAfterCut(shell, { ...plan, onCutoff: 'end' }), 'end');
  t.equal(planAfterCut(shell, { ...plan, stdinEnded: true }), 'end', 'nobody can type into it');
  t.equal(planAfterCut(parseRemoteSession(execTarget(['top'])), plan), 'end');
  t.equal(planAfterCut(parseRemoteSession(`${POD}/attach?tty=true`), { ...plan, onCutoff: 'end' }), 'reattach');
});

t.test('an age reads as people say it', async (t) => {
  t.strictSame([0, 400, 59_400, 60_000, 1_203_000, 3_720_000, -5].map(formatAge), [
    '0 s',
    '0 s',
    '59 s',
    '1 min 0 s',
    '20 min 3 s',
    '1 h 2 min',
    '0 s',
  ]);
});

t.test('what is said fits on one line and is true', async (t) => {
  const gap = { ageMs: 1_203_000, gapMs: 1000 };
  const terminal = parseRemoteSession(execTarget(['sh']));
  const piped = parseRemoteSession(`${POD}/attach?stdin=true&stderr=true`);
  t.match(
    noticeText(terminal, shellNotice({ ...gap, discardedBytes: 0 })).toString(),
    /^\r\n[^\r\n]+20 min 3 s[^\r\n]+NEW[^\r\n]+\r\n$/,
  );
  t.notMatch(shellNotice({ ...gap, discardedBytes: 0 }), /typed/);
  t.match(shellNotice({ ...gap, discardedBytes: 1 }), /typed meanwhile was not passed on/);
  t.match(noticeText(piped, attachNotice({ ...gap, stdinClosed: false })).toString(), /^[^\r\n]+missing\n$/);
  t.match(attachNotice({ ...gap, stdinClosed: true }), /stdinOnce/);
  const say = (command: string[], flags: string): string =>
    cutMessage(parseRemoteSession(execTarget(command, flags)), { ageMs: 61_000 });
  t.match(say(['sleep', '30'], 'stdout=true'), /1 min 1 s; the command was not run again; its process may go on/);
  t.notMatch(say(['sleep', '30'], 'stdout=true'), /stdin/);
  t.match(say(['sh', '-c', 'cat > f'], 'stdin=true'), /stdin has ended there.*may be short/);
  t.match(say(['tar', 'cf', '-', 'f'], 'stdout=true'), /the copy is incomplete: copy it again.*kubectl cp --retries/);
  t.match(say(['sh', '-c', 'tar cf - f | tail -c+100'], 'stdout=true'), /kubectl cp --retries/);
  t.match(say(['tar', '-xmf', '-', '-C', 'd'], 'stdin=true'), /copy into the container is incomplete/);
  t.notMatch(say(['sh', '-c', 'echo tar cf - f'], 'stdout=true'), /kubectl cp/);
});

const T0 = '2026-11-24T10:00:00Z';
const LATER = '2026-11-24T11:00:00Z';
const pod = (status: unknown, spec: unknown = { name: 'c' }): unknown => ({
  spec: { containers: [{ name: 'first' }, spec] },
  status: { containerStatuses: [{ name: 'first' }, { name: 'c', ...(status as object) }] },
});

t.test('a container is the same as long as its instance is', async (t) => {
  const running = { containerID: 'x://1', state: { running: { startedAt: T0 } } };
  const since = Date.parse(T0) + 60_000;
  const first = judgeInstance(pod(running), { container: 'c', since });
  t.strictSame(first, { kind: 'running', instance: { startedAt: T0, containerId: 'x://1' }, stdinOnce: false });
  const known = { startedAt: T0, containerId: 'x://1' };
  t.match(judgeInstance(pod(running, { name: 'c', stdinOnce: true }), { container: 'c', since, known }), {
    stdinOnce: true,
  });
  t.match(judgeInstance(pod(running), { container: 'c', since: Date.parse(T0) - 1500 }), { kind: 'running' });
  t.strictSame(judgeInstance(pod(running), { container: 'c', since: Date.parse(T0) - 5000 }), { kind: 'lost' });
  t.strictSame(judgeInstance(pod({ ...running, containerID: 'x://2' }), { container: 'c', since, known }), {
    kind: 'lost',
  });
  t.strictSame(judgeInstance(pod(running), { since }), { kind: 'lost' }, 'the first is meant when none is named');
});

t.test('how a container has ended is told of its own instance only', async (t) => {
  const terminated = { exitCode: 7, startedAt: T0, finishedAt: LATER, containerID: 'x://1' };
  const since = Date.parse(T0) + 60_000;
  const known = { startedAt: T0, containerId: 'x://1' };
  const anew = { containerID: 'x://2', state: { running: { startedAt: LATER } }, lastState: { terminated } };
  const want = { kind: 'ended', exitCode: 7, stdinOnce: false } as const;
  t.strictSame(judgeInstance(pod({ state: { terminated } }), { container: 'c', since }), want);
  t.strictSame(judgeInstance(pod({ state: { terminated } }), { container: 'c', since, known }), want);
  t.strictSame(judgeInstance(pod(anew), { container: 'c', since, known }), want);
  t.strictSame(judgeInstance(pod(anew), { container: 'c', since }), want);
  const other = { ...known, containerId: 'x://0' };
  t.strictSame(judgeInstance(pod(anew), { container: 'c', since, known: other }), { kind: 'lost' });
  const longAgo = { container: 'c', since: Date.parse(LATER) + 60_000 };
  t.strictSame(judgeInstance(pod({ state: { waiting: {} }, lastState: { terminated } }), longAgo), { kind: 'lost' });
});

t.test('a pod that says nothing of the container tells of no instance', async (t) => {
  for (const odd of [undefined, null, {}, { status: {} }, { status: { containerStatuses: [] } }, pod({})]) {
    t.strictSame(judgeInstance(odd, { container: 'c', since: 0 }), { kind: 'lost' });
  }
});
