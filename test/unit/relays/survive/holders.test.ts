import t, { type Test } from 'tap';
import { LocalContainer } from '../../../support/local-exec.js';

for (const set of ['debian', 'python'] as const) {
  t.test(`holder in ${set}`, async (t) => {
    const container = new LocalContainer(t.testdir({}), set);
    await t.test('a command to its end', (t) => plain(t, container));
    await t.test('cut', (t) => cut(t, container));
    await t.test('tty', (t) => tty(t, container));
  });
}

async function plain(t: Test, container: LocalContainer): Promise<void> {
  const session = container.session(['sh', '-c', 'read a; echo "out $a"; echo err >&2; exit 3']);
  const exec = session.exec();
  t.match(await exec.next(), { kind: 'begun' });
  t.match(await exec.hold(), { taken: 0, from: { out: 0, err: 0 } });
  exec.input(0, 'word\n');
  t.equal(await exec.finish(), 3);
  t.equal(session.text(), 'out word\n');
  t.equal(session.text('err'), 'err\n');
  t.strictSame(container.leftovers, []);
}

async function cut(t: Test, container: LocalContainer): Promise<void> {
  const session = container.session(['sh', '-c', 'while read a; do echo "got $a"; done; echo end']);
  let exec = session.exec();
  await exec.hold();
  exec.input(0, 'one\n');
  await exec.until(/got one/);
  exec.cut();
  exec = session.exec();
  const { taken } = await exec.hold();
  t.equal(taken, 4);
  exec.input(0, 'one\ntwo\n');
  await exec.until(/got two/);
  exec.send(Buffer.from('eof 8\n'));
  t.equal(await exec.finish(), 0);
  t.equal(session.text(), 'got one\ngot two\nend\n');
  t.strictSame(container.leftovers, []);
}

async function tty(t: Test, container: LocalContainer): Promise<void> {
  const session = container.session(['bash', '--norc', '-i'], { tty: true, stderr: false });
  let exec = session.exec();
  await exec.hold();
  exec.send(Buffer.from('size 101 32\n'));
  exec.input(0, 'X=42; stty size\n');
  await exec.until(/32 101/);
  exec.cut();
  exec = session.exec();
  const { taken } = await exec.hold();
  exec.input(taken, 'echo X is $X $TERM; exit 5\n');
  t.equal(await exec.finish(), 5);
  t.match(session.text(), /X is 42 xterm/);
  t.strictSame(container.leftovers, []);
}
