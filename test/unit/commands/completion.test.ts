import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { allVerbs, verbsOf } from '../../../src/commands/completion/verbs.js';
import { createProgram } from '../../../src/commands/program.js';
import { commandIo, runCommand } from '../../support/command-io.js';
import { daemonScene } from '../../support/daemon-scene.js';
import { tellMissing } from '../../support/missing.js';

const NAMES = ['prod', 'edge-store', 'datacenter'];

async function script(shell: string): Promise<string> {
  const { code, out } = await runCommand(['completion', shell], { folder: '/nowhere', stateDir: '/nowhere' });
  if (code !== 0) throw new Error(`completion ${shell}: ${code}`);
  return out;
}

/** What bash offers for these words, the last of which is being typed. */
function bashOffers(file: string, words: readonly string[]): string[] {
  const quoted = words.map((word) => `'${word}'`).join(' ');
  const typed = `
    set -u
    connect-gateway-proxy() { echo "asked $*" >&2; printf '%s\\n' ${NAMES.join(' ')}; }
    source ${file}
    complete -p connect-gateway-proxy > /dev/null || exit 9
    COMP_WORDS=(connect-gateway-proxy ${quoted}); COMP_CWORD=${words.length}
    _connect_gateway_proxy
    printf '%s\\n' \${COMPREPLY[@]+"\${COMPREPLY[@]}"}
  `;
  const out = execFileSync('bash', ['--norc', '-c', typed], { encoding: 'utf8', cwd: join(file, '..') });
  return out.split('\n').filter((line) => line !== '');
}

t.test('bash: verbs, options, their values, and the memberships of the running daemon', async (t: Test) => {
  const folder = t.testdir({ 'a-file.yaml': '' });
  const file = join(folder, 'completion.bash');
  writeFileSync(file, await script('bash'));
  const cases: [string[], string[]][] = [
    [['st'], ['status', 'stop']],
    [['service', 're'], ['restart']],
    [['service', 'install', '--manager', 'sys'], ['systemd']],
    [
      ['status', '-o', ''],
      ['text', 'json'],
    ],
    [['status', '--output', 'j'], ['json']],
    [['--ver'], ['--version']],
    [['kubeconfig', '--mer'], ['--merge']],
    [['kubeconfig', '--merge', 'a-f'], ['a-file.yaml']],
    [['kubeconfig', '--merge', '--set'], ['--set-current-context']],
    [['run', '--config', 'a-f'], ['a-file.yaml']],
    [['run', '--listen-p'], ['--listen-port']],
    [['run', '--listen-port', ''], []],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    [['shell', ''], NAMES],
    [['shell', 'pr'], ['prod']],
    [['shell', '--state-dir', '/tmp/x', 'e'], ['edge-store']],
    [['shell', 'prod', ''], []],
    [['--config', 'x', 'sta'], []],
  ];
  for (const [words, offered] of cases) t.strictSame(bashOffers(file, words), offered, words.join(' '));
  t.ok(bashOffers(file, ['shell', 'prod', '--', 'bas']).includes('bash'), 'commands after --');
  const root = verbsOf(createProgram(commandIo({ folder, stateDir: folder }).io, () => {}));
  t.strictSame(bashOffers(file, ['']).sort(), root.children.map(({ path }) => path[0]).sort(), 'every verb');
  for (const verb of allVerbs(root)) {
    const flags = verb.options.flatMap(({ names }) => names).filter((name) => name.startsWith('--'));
    t.strictSame(bashOffers(file, [...verb.path, '--']), flags, `every option of ${verb.path.join(' ')}`);
  }
});

for (const shell of ['zsh', 'fish']) {
  const there = spawnSync(shell, ['-c', 'exit 0']).status === 0;
  if (!there) {
    tellMissing(t, `no ${shell}: install it to see that it reads its script`);
    continue;
  }
  t.test(`${shell} reads its script`, async (t: Test) => {
    const folder = t.testdir({});
    const file = join(folder, `completion.${shell}`);
    writeFileSync(file, await script(shell));
    t.match(spawnSync(shell, ['-n', file], { encoding: 'utf8' }), { status: 0, stderr: '' });
    if (shell === 'zsh') {
      // The completion system's own functions, as far as ours calls them.
      const stubs = `
        compdef() { print "compdef $*" > /dev/null }
        _describe() { local name=$argv[-1]; print -l -- \${(P)name} }
        compadd() { shift; print -l -- $* }
        _files() { print FILES }
        connect-gateway-proxy() { print -l -- ${NAMES.join(' ')} }
        source ${file}
      `;
      const offers = (...words: string[]): string[] => {
        const typed = words.map((word) => `'${word}'`).join(' ');
        const call = `words=(connect-gateway-proxy ${typed}); CURRENT=$#words; PREFIX=$words[-1]; _connect_gateway_proxy`;
        const out = execFileSync('zsh', ['-f', '-c', `${stubs}\n${call}`], { encoding: 'utf8' });
        return out
          .split('\n')
          .map((line) => line.split(':')[0] ?? '')
          .filter((line) => line !== '');
      };
      t.ok(['status', 'shell', 'service'].every((verb) => offers('').includes(verb)));
      t.ok(offers('service', '').includes('restart'));
      t.strictSame(offers('status', '-o', ''), ['text', 'json']);
      t.strictSame(offers('shell', ''), NAMES);
      t.strictSame(offers('shell', 'prod', ''), []);
      t.strictSame(offers('run', '--config', ''), ['FILES']);
      t.ok(offers('kubeconfig', '--').includes('--merge'));
      return;
    }
    const offers = (line: string): string[] =>
      execFileSync(
        'fish',
        [
          '--no-config',
          '-c',
          `function connect-gateway-proxy; printf '%s\\n' ${NAMES.join(' ')}; end; source ${file}; complete -C '${line}'`,
        ],
        { encoding: 'utf8' },
      )
        .split('\n')
        .map((text) => text.split('\t')[0] ?? '')
        .filter((text) => text !== '');
    t.strictSame(offers('connect-gateway-proxy sta'), ['status']);
    t.strictSame(offers('connect-gateway-proxy service rest'), ['restart']);
    t.strictSame(offers('connect-gateway-proxy status -o '), ['json', 'text']);
    t.strictSame(offers('connect-gateway-proxy shell '), [...NAMES].sort());
    t.strictSame(offers('connect-gateway-proxy kubeconfig --mer'), ['--merge']);
  });
}

t.test('the scripts differ from --help in nothing, and quote what it says', async (t) => {
  const [zsh, fish] = await Promise.all([script('zsh'), script('fish')]);
  const root = verbsOf(createProgram(commandIo({ folder: '/nowhere', stateDir: '/nowhere' }).io, () => {}));
  for (const verb of allVerbs(root)) {
    for (const { names } of verb.options) {
      for (const name of names) {
        t.ok(zsh.includes(`'${name}:`), `zsh ${verb.path.join(' ')} ${name}`);
        t.ok(fish.includes(name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`), `fish ${name}`);
      }
    }
  }
  t.match(await runCommand(['completion', 'tcsh'], { folder: '/nowhere', stateDir: '/nowhere' }), { code: 2 });
  t.match(await runCommand(['completion'], { folder: '/nowhere', stateDir: '/nowhere' }), {
    code: 2,
    err: /name a shell: bash, zsh, fish/,
  });
});

t.test('the names come from the daemon that runs; without one there are none', async (t) => {
  const at = await daemonScene(t, ['prod', 'edge']);
  const o = { folder: join(at.folder, 'none'), stateDir: join(at.folder, 'state') };
  t.match(await runCommand(['completion', '--list'], o), { code: 1, out: '' });
  await at.start();
  t.match(await runCommand(['completion', '--list'], o), { code: 0, out: 'edge\nprod\n' });
});

t.test('the help of every command has examples, and they name only options that there are', async (t) => {
  const root = verbsOf(createProgram(commandIo({ folder: '/nowhere', stateDir: '/nowhere' }).io, () => {}));
  for (const verb of allVerbs(root)) {
    if (verb.path.at(-1) === 'help') continue;
    const name = verb.path.join(' ') || 'the program';
    const { code, out } = await runCommand([...verb.path, '--help'], { folder: '/nowhere', stateDir: '/nowhere' });
    t.equal(code, 0, name);
    const [, examples = '', ...again] = out.split('Examples:');
    t.equal(again.length, 0, `${name}: once`);
    t.match(examples, /^ {2}\$ \S/m, `${name} has examples`);
    t.ok(verb.description.length > 10, `${name} is described`);
    for (const line of examples.split('\n').filter((text) => text.includes('connect-gateway-proxy'))) {
      for (const part of line.split('connect-gateway-proxy ').slice(1)) {
        const [words = ''] = part.split(/ -- | \|+ | && |\)/);
        const known = allVerbs(root).filter(
          ({ path }) => `${words} `.startsWith(`${path.join(' ')} `) || path.length === 0,
        );
        const flags = known.at(-1)?.options.flatMap(({ names }) => names) ?? [];
        t.ok(known.length > 1, `${line.trim()} names a command`);
        for (const [flag] of words.matchAll(/(?<= )--?[a-z][a-z-]*/g))
          t.ok(flags.includes(flag), `${line.trim()}: ${flag}`);
      }
    }
  }
});
