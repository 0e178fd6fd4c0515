import { text } from 'node:stream/consumers';
import t from 'tap';
import { seeded } from '../fuzz/random.js';
import { LocalContainer } from '../support/local-exec.js';

const SETS = ['debian', 'python', 'script', 'busybox', 'bash'] as const;
/** As a pod's spec may set it; shells drop some of these names, and set others. */
const ODD = {
  'dotted.name': 'kept',
  'dashed-name': 'kept',
  EMPTY: '',
  LINES: 'one\ntwo\n\nlast\n',
  QUOTES: `'"\\$(id)\``,
  UMLAUT: 'grün €',
  IFS: 'x',
  child: '1',
  turn: '7',
  name: 'mine',
  PERL5OPT: '-Mnosuch',
  PYTHONPATH: '/nowhere',
  PYTHONCOERCECLOCALE: 'warn',
  SHELL: '/no/such/shell',
};
/** What a process can see of how it was started. */
const LOOK = [
  'cat /proc/self/environ | tr "\\0\\n" "\\n\\1" | grep -av "^_=\\|^SHLVL=\\|^OLDPWD=\\|^PWD=" | sort',
  'pwd',
  'umask',
  'grep -E "^Sig(Blk|Ign)" /proc/self/status',
  'ls /proc/self/fd | wc -l',
  'ulimit -a',
  'nice',
].join('; ');

async function plainEnvironment(container: LocalContainer): Promise<string[]> {
  const plain = container.spawn(['env']);
  plain.stdin?.end();
  return (await text(plain.stdout as NodeJS.ReadableStream)).split('\n').sort();
}

// Most of a test is waiting for processes to start, or to end.
t.jobs = 5;

for (const set of SETS) {
  t.test(`${set}: a command finds what it would have found without us`, { buffered: true }, async (t) => {
    const container = new LocalContainer(t.testdir({}), set, { env: ODD });
    const expected = await plainEnvironment(container);
    const session = container.session(['env']);
    const exec = session.exec();
    await exec.hold();
    t.equal(await exec.finish(), 0);
    t.strictSame(Buffer.from(session.text(), 'latin1').toString().split('\n').sort(), expected, 'its environment');

    const looking = container.spawn(['sh', '-c', LOOK]);
    looking.stdin?.end();
    const seen = await text(looking.stdout as NodeJS.ReadableStream);
    const held = container.session(['sh', '-c', LOOK]);
    const second = held.exec();
    await second.hold();
    await second.finish();
    t.equal(Buffer.from(held.text(), 'latin1').toString(), seen, 'its folder, mask, signals, descriptors and limits');
  });

  if (set === 'busybox') continue;
  t.test(`${set}: at a terminal, TERM is xterm, and nothing else is different`, { buffered: true }, async (t) => {
    const container = new LocalContainer(t.testdir({}), set, { env: { ...ODD, TERM: 'dumb' } });
    const session = container.session(['env'], { tty: true, stderr: false });
    const exec = session.exec();
    await exec.hold();
    await exec.finish();
    const expected = (await plainEnvironment(container)).filter((entry) => entry !== 'TERM=dumb');
    const seen = Buffer.from(session.text(), 'latin1').toString().replaceAll('\r\n', '\n');
    t.strictSame(seen.split('\n').sort(), [...expected, 'TERM=xterm'].sort());
  });
}

for (const set of SETS) {
  t.test(`${set}: arguments of any bytes`, { buffered: true }, async (t) => {
    const container = new LocalContainer(t.testdir({}), set);
    for (const words of [
      ["it's", '"quoted"', '$HOME `id` $(id) $x', '\\', '\\n', '*', '~', '', '-n', '--', '-e', 'a b', '#', ';|&<>'],
      ['grün €𝄞', 'line\nline\n', '\n', '\t', '\x01\x7f', '=', '%s%n', '!!'],
    ]) {
      for (const tty of set === 'busybox' ? [false] : [false, true]) {
        const session = container.session(['printf', '[%s]\\n', ...words], { tty });
        const exec = session.exec();
        await exec.hold();
        t.equal(await exec.finish(), 0);
        const said = Buffer.from(session.text(), 'latin1').toString();
        t.equal(tty ? said.replaceAll('\r\n', '\n') : said, words.map((word) => `[${word}]\n`).join(''));
      }
    }
  });
}

for (const set of SETS) {
  t.test(`${set}: arguments that are no UTF-8`, { buffered: true }, async (t) => {
    const container = new LocalContainer(t.testdir({}), set);
    const words = [...Array(16).keys()].map((i) => Buffer.of(0x80 + 8 * i));
    const odd = [Buffer.concat(words), Buffer.from('\xc3', 'latin1'), Buffer.from("\xff'\xfe\n", 'latin1'), ...words];
    for (const tty of set === 'busybox' ? [false] : [false, true]) {
      const session = container.session(['sh', '-c', 'printf "[%s]" "$@" | od -An -v -tx1', 'x', ...odd], { tty });
      const exec = session.exec();
      await exec.hold();
      t.equal(await exec.finish(), 0);
      t.equal(session.text().replaceAll(/\s/g, ''), odd.map((word) => `5b${word.toString('hex')}5d`).join(''));
    }
  });
}

/** Printed, so that a failure can be played again. */
const SEED = Number(process.env['CGP_TEST_FUZZ_SEED'] ?? Date.now() % 2 ** 31);
/** What a shell, printf or a terminal could take for something else stands more often than the rest. */
const TRICKY = '\'"\\$`!*?[]{}()<>|&;#~=%- \t\n\r\x01\x7f\x80ü€𝄞';

for (const set of SETS) {
  t.test(`${set}: arguments at random (seed ${SEED})`, { buffered: true }, async (t) => {
    const container = new LocalContainer(t.testdir({}), set);
    const random = seeded(SEED);
    const tricky = [...TRICKY];
    const letter = (): Buffer => {
      if (random.chance(0.6)) return Buffer.from(tricky[random.below(tricky.length)] ?? '');
      // Half of the others are UTF-8.
      const code = random.below(255) + 1;
      return random.chance(0.5) ? Buffer.from(String.fromCodePoint(code)) : Buffer.of(code);
    };
    const words = Array.from({ length: 60 }, () => Buffer.concat(Array.from({ length: random.below(40) }, letter)));
    const expected = words.map((word) => `5b${word.toString('hex')}5d0a`).join('');
    for (const tty of set === 'busybox' ? [false] : [false, true]) {
      // In hexadecimal, because a terminal changes the ends of lines.
      const session = container.session(['sh', '-c', 'printf "[%s]\\n" "$@" | od -An -v -tx1', 'x', ...words], { tty });
      const exec = session.exec();
      await exec.hold();
      t.equal(await exec.finish(), 0);
      t.equal(session.text().replaceAll(/\s/g, ''), expected, tty ? 'at a terminal' : 'at pipes');
    }
  });
}
