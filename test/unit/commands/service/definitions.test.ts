import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { managerNamed } from '../../../../src/commands/service/choose-manager.js';
import type { ManagerName, RenderedFile, ServiceDefinition } from '../../../../src/commands/service/manager.js';
import { fakeHost } from '../../../support/service-host.js';

/** Written anew with TAP_SNAPSHOT=1. */
const FIXTURES = join(process.cwd(), 'test', 'fixtures', 'service');
const ODD = `a b/"q"/it's/ünï ☃/$HOME $$/100% %h/back\\slash/<&>`;

function definition(root: string): ServiceDefinition {
  return {
    start: {
      program: [join(root, ODD, 'node'), join(root, ODD, 'main.js')],
      args: ['run', '--projects', `a,${ODD}`, '--state-dir', join(root, ODD)],
      environment: { PATH: `${join(root, ODD)}:/usr/bin`, HTTPS_PROXY: `http://proxy/${ODD}` },
      workingFolder: join(root, ODD),
    },
    sockets: ['127.0.0.1:7443', '[::1]:7500'],
    logFile: join(root, ODD, 'service.log'),
    recordFile: join(root, ODD, 'service.json'),
    environmentFile: join(root, ODD, 'service.env'),
  };
}

function render(name: ManagerName, root: string, user = 'dev'): readonly RenderedFile[] {
  const host = fakeHost({ home: root, user });
  return managerNamed(name, host, join(root, 'service.json')).render(definition(root));
}

/** The first file's text. */
function rendered(name: ManagerName, root: string, user?: string): string {
  return render(name, root, user)[0]?.content ?? '';
}

function missing(program: string): string | undefined {
  return spawnSync(program, ['--version']).error === undefined ? undefined : `there is no ${program} here`;
}

/** In CI the tools have to be there: .ci/run installs them. */
const unless = (program: string): { skip: string | false } => ({
  skip: process.env['CI'] ? false : (missing(program) ?? false),
});

t.test('what is rendered, word for word, from odd paths', async (t) => {
  for (const name of ['systemd', 'launchd', 'task-scheduler', 'autostart', 'cron'] as const) {
    const text = render(name, '/opt', 'DOMAIN\\dé v').map(({ path, content }) => `${path}\n${content}`);
    // Whether systemd-notify is in /usr/bin is this machine's business.
    const stable = text
      .join('\n')
      .replace(/Type=(exec|notify)\n(#.*\n)?(NotifyAccess.*\nWatchdogSec.*\n)?|# systemd-notify is.*\n/g, '');
    const fixture = join(FIXTURES, `${name}.txt`);
    if (process.env['TAP_SNAPSHOT']) writeFileSync(fixture, stable);
    t.equal(stable, readFileSync(fixture, 'utf8'), name);
  }
});

t.test('the systemd units are sound in the eyes of systemd', unless('systemd-analyze'), async (t) => {
  const verify = (root: string, files: readonly RenderedFile[]): string => {
    for (const { path, content } of files) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
    }
    const { status, stderr, stdout } = spawnSync(
      'systemd-analyze',
      ['--user', '--man=no', 'verify', ...files.map(({ path }) => path)],
      { env: { ...process.env, XDG_RUNTIME_DIR: root, HOME: root }, encoding: 'utf8' },
    );
    return `${status} ${stdout}${stderr}`.trim();
  };
  // Short: sockets' paths are limited.
  const root = mkdtempSync(join(tmpdir(), 'cgp-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  t.equal(verify(root, render('systemd', root)), '0', 'with everything that is odd');

  const program = join(root, 'a b', 'ünï ☃', '$HOME $$', '100% %h', 'node');
  const { start, ...rest } = definition(root);
  const plain = managerNamed('systemd', fakeHost({ home: root }), join(root, 'service.json')).render({
    ...rest,
    start: { ...start, program: [program] },
  });
  t.match(verify(root, plain), /is not executable: No such file/, 'it looks for the program itself');
  mkdirSync(dirname(program), { recursive: true });
  writeFileSync(program, '#!/bin/sh\n', { mode: 0o755 });
  t.equal(verify(root, plain), '0', 'and finds it');
});

t.test('systemd starts what was meant: words and environment', unless('systemd-analyze'), async (t) => {
  // A reader of our own for systemd.syntax(7) and systemd.service(5), because no manager runs in a test.
  const unit = rendered('systemd', '/opt');
  const { start } = definition('/opt');
  const line = /^ExecStart=(.*)$/m.exec(unit)?.[1] ?? '';
  const [program, ...words] = systemdWords(line);
  t.strictSame(
    [program, ...words.map((word) => word.replaceAll('$$', '$'))],
    // systemd runs no program with a quote in its name.
    ['/bin/sh', '-c', 'exec "$0" "$@"', ...start.program, ...start.args],
  );
  t.notOk(
    words.some((word) => word.replaceAll('$$', '').includes('$')),
    'no dollar is left to be replaced',
  );
  const environment = [...unit.matchAll(/^Environment=(.*)$/gm)].flatMap(([, text = '']) => systemdWords(text));
  t.strictSame(
    environment,
    Object.entries(start.environment).map(([name, value]) => `${name}=${value}`),
  );
});

t.test('the plist says the same to a parser', unless('python3'), async (t) => {
  const { start, logFile } = definition('/opt');
  const parsed = JSON.parse(
    execFileSync(
      'python3',
      ['-c', 'import json,plistlib,sys; json.dump(plistlib.loads(sys.stdin.buffer.read()), sys.stdout)'],
      { input: rendered('launchd', '/opt'), encoding: 'utf8' },
    ),
  );
  t.strictSame(parsed, {
    Label: 'local.connect-gateway-proxy',
    ProgramArguments: [...start.program, ...start.args],
    EnvironmentVariables: start.environment,
    WorkingDirectory: start.workingFolder,
    StandardOutPath: logFile,
    StandardErrorPath: logFile,
    RunAtLoad: true,
    KeepAlive: { SuccessfulExit: false },
    ThrottleInterval: 5,
    ExitTimeOut: 20,
    Umask: 0o077,
  });
});

t.test('the task says the same to a parser, in UTF-16 as Windows wants it', unless('python3'), async (t) => {
  const [file] = render('task-scheduler', '/opt', 'DOMAIN\\dé <v>');
  t.equal(file?.encoding, 'utf16le');
  const script = `
import json, sys, xml.etree.ElementTree as E
root = E.fromstring(sys.stdin.buffer.read())
ns = '{http://schemas.microsoft.com/windows/2004/02/mit/task}'
assert root.tag == ns + 'Task', root.tag
sections = [child.tag.replace(ns, '') for child in root]
texts = {name: [e.text for e in root.iter(ns + name)] for name in ('UserId', 'Command', 'Arguments', 'WorkingDirectory')}
json.dump({'sections': sections, **texts}, sys.stdout)`;
  const input = Buffer.from(`\uFEFF${file?.content ?? ''}`, 'utf16le');
  const parsed = JSON.parse(execFileSync('python3', ['-c', script], { input, encoding: 'utf8' }));
  t.strictSame(parsed.sections, ['RegistrationInfo', 'Triggers', 'Principals', 'Settings', 'Actions']);
  t.strictSame(parsed.UserId, ['DOMAIN\\dé <v>', 'DOMAIN\\dé <v>']);
  t.strictSame(parsed.Command, ['C:\\Windows\\System32\\conhost.exe']);
  t.strictSame(parsed.WorkingDirectory, [join('/opt', ODD)]);
  const { start, recordFile } = definition('/opt');
  t.strictSame(windowsWords(parsed.Arguments[0]), ['--headless', ...start.program, 'service', 'run', recordFile]);
});

t.test('cron and a shell start what was meant', async (t) => {
  const root = t.testdir({});
  const { start, recordFile } = definition(root);
  const program = start.program[0] ?? '';
  mkdirSync(dirname(program), { recursive: true });
  const seen = join(root, 'seen');
  writeFileSync(program, `#!/bin/sh\nfor word; do printf '%s\\n' "$word"; done > '${seen}'\n`, { mode: 0o755 });
  const line = rendered('cron', root).trimEnd();
  t.match(line, /^@reboot /);
  t.notMatch(line, /(?<!\\)%/, 'a bare percent sign ends a command of cron');
  execFileSync('/bin/sh', ['-c', line.replace(/^@reboot /, '').replaceAll('\\%', '%')]);
  const words = execFileSync('cat', [seen], { encoding: 'utf8' }).trimEnd().split('\n');
  t.strictSame(words, [...start.program.slice(1), 'service', 'run', recordFile]);
});

t.test('the desktop entry starts what was meant', async (t) => {
  const entry = rendered('autostart', '/opt');
  const { start, recordFile } = definition('/opt');
  const value = /^Exec=(.*)$/m.exec(entry)?.[1] ?? '';
  // Desktop Entry Specification: the value's escapes, then the quoting of Exec, then the field codes.
  const unescaped = value.replace(/\\(.)/g, (_, letter: string) => (letter === 's' ? ' ' : letter));
  const words = [...unescaped.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word = '']) =>
    word.replace(/\\(.)/g, '$1').replaceAll('%%', '%'),
  );
  t.strictSame(words, [...start.program, 'service', 'run', recordFile]);
});

/** Quoted words with their C escapes undone and `%%` made one. */
function systemdWords(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word = '']) =>
    word.replace(/\\(["\\])/g, '$1').replaceAll('%%', '%'),
  );
}

/** CommandLineToArgvW. */
function windowsWords(text: string): string[] {
  const words: string[] = [];
  let word = '';
  let open = false;
  let started = false;
  for (let at = 0; at < text.length; at++) {
    const slashes = /^\\*/.exec(text.slice(at))?.[0].length ?? 0;
    if (text[at + slashes] === '"') {
      word += '\\'.repeat(Math.floor(slashes / 2));
      if (slashes % 2 === 1) word += '"';
      else open = !open;
      started = true;
      at += slashes;
    } else if (slashes > 0) {
      word += '\\'.repeat(slashes);
      started = true;
      at += slashes - 1;
    } else if (text[at] === ' ' && !open) {
      if (started) words.push(word);
      word = '';
      started = false;
    } else {
      word += text[at];
      started = true;
    }
  }
  if (started) words.push(word);
  return words;
}
