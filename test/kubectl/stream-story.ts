import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import * as http from 'node:http';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Scene } from './story.js';

const MEBIBYTE = 1024 * 1024;

/** Logs, exec, attach, cp and port-forward. */
export async function tellStreamStory(t: Test, scene: Scene): Promise<void> {
  await t.test('logs, and logs that go on', (t) => logs(t, scene));
  await t.test('exec with and without stdin, and exit codes', (t) => exec(t, scene));
  await t.test('exec in a terminal that is resized', (t) => terminal(t, scene));
  await t.test('attach to the main process', (t) => attach(t, scene));
  await t.test('cp both ways', (t) => copy(t, scene));
  await t.test('port-forward with several connections at once', (t) => portForward(t, scene));
}

async function logs(t: Test, { kubectl }: Scene): Promise<void> {
  const follow = kubectl.start(['logs', '-f', 'deployment/hello']);
  await follow.until(/^1? ?.*hello from hello-[\s\S]*\n.*hello from hello-/m);
  const seen = follow.stdout.split('\n').length;
  await follow.until(new RegExp(`(?:.*\\n){${seen + 1}}`));
  t.not(await follow.stop(), 0, 'it was still going on when it was interrupted');
  const tail = await kubectl.run(['logs', 'deployment/hello', '--tail=1']);
  t.equal(tail.stdout.trim().split('\n').length, 1);
  const stamped = await kubectl.run(['logs', 'deployment/hello', '--tail=1', '--timestamps']);
  t.match(stamped.stdout, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z .*hello from/);
  const ambiguous = await kubectl.run(['logs', 'two', '-c', 'nonesuch']);
  t.equal(ambiguous.code, 1);
}

async function exec(t: Test, { kubectl }: Scene): Promise<void> {
  const plain = await kubectl.run(['exec', 'box', '--', 'sh', '-c', 'echo out; echo err >&2']);
  t.strictSame([plain.code, plain.stdout, plain.stderr], [0, 'out\n', 'err\n']);
  for (const code of [1, 3, 137]) {
    const failed = await kubectl.run(['exec', 'box', '--', 'sh', '-c', `exit ${code}`]);
    t.equal(failed.code, code);
    t.match(failed.stderr, `command terminated with exit code ${code}`);
  }
  const piped = await kubectl.run(['exec', '-i', 'box', '--', 'cat'], { input: 'to and fro' });
  t.strictSame([piped.code, piped.stdout], [0, 'to and fro'], 'the end of stdin reaches the command');
  const large = randomBytes(3 * MEBIBYTE).toString('hex');
  const counted = await kubectl.run(['exec', '-i', 'box', '--', 'wc', '-c'], { input: large });
  t.equal(counted.stdout.trim(), String(large.length));
  const missing = await kubectl.run(['exec', 'box', '--', 'no-such-program']);
  t.not(missing.code, 0);
  t.match(missing.stderr, /no-such-program/);
  const nowhere = await kubectl.run(['exec', 'no-such-pod', '--', 'true']);
  t.equal(nowhere.code, 1);
  t.match(nowhere.stderr, 'pods "no-such-pod" not found');
}

async function terminal(t: Test, { kubectl }: Scene): Promise<void> {
  const { spawn } = await import('@lydell/node-pty');
  const shell = spawn(kubectl.path, kubectl.args(['exec', '-it', 'box', '--', 'sh']), {
    cols: 77,
    rows: 11,
    env: kubectl.env as Record<string, string>,
  });
  let screen = '';
  let wake = (): void => {};
  shell.onData((data) => {
    screen += data;
    wake();
  });
  const exited = new Promise<number>((resolve) => shell.onExit(({ exitCode }) => resolve(exitCode)));
  const shows = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(screen)) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  // The first size arrives a moment after the shell: ask until it is there.
  shell.write('until [ "$(stty size)" = "11 77" ]; do sleep 0.05; done; echo size=$(stty size)\r');
  await shows(/size=11 77/);
  shell.resize(99, 33);
  shell.write('until [ "$(stty size)" = "33 99" ]; do sleep 0.05; done; echo size=$(stty size)\r');
  await shows(/size=33 99/);
  shell.write('tty && exit 5\r');
  t.equal(await exited, 5, screen);
  t.match(screen, /\/dev\/pts\/\d+/, 'a real terminal');
}

async function attach(t: Test, { kubectl }: Scene): Promise<void> {
  const attached = kubectl.start(['attach', '-i', 'box']);
  const word = randomBytes(6).toString('hex');
  // Attach has no prompt and earlier output is not repeated: speak until the echo comes.
  const speak = setInterval(() => attached.child.stdin?.write(`${word}\n`), 200);
  await attached.until(new RegExp(word));
  clearInterval(speak);
  await attached.stop('SIGTERM');
  t.pass('what is typed reaches the main process and its answer comes back');
}

async function copy(t: Test, { kubectl, folder, context }: Scene): Promise<void> {
  const local = join(folder, `${context}-up.bin`);
  const back = join(folder, `${context}-down.bin`);
  const content = randomBytes(50 * MEBIBYTE);
  writeFileSync(local, content);
  const up = await kubectl.run(['cp', local, 'box:copied.bin']);
  t.equal(up.code, 0, up.stderr);
  const down = await kubectl.run(['cp', 'box:copied.bin', back]);
  t.equal(down.code, 0, down.stderr);
  const sum = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
  t.equal(sum(readFileSync(back)), sum(content), '50 MB came back byte for byte');
  await kubectl.run(['exec', 'box', '--', 'rm', 'copied.bin']);
}

async function portForward(t: Test, { kubectl }: Scene): Promise<void> {
  const forward = kubectl.start(['port-forward', 'deployment/hello', ':8080']);
  const [, port = ''] = await forward.until(/Forwarding from 127\.0\.0\.1:(\d+) -> 8080/);
  const fetch = (path: string): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const request = http.get({ host: '127.0.0.1', port: Number(port), path, agent: false }, (response) => {
        response.toArray().then((chunks) => resolve(Buffer.concat(chunks as Buffer[])), reject);
      });
      request.on('error', reject);
    });
  const [big, ...small] = await Promise.all([
    fetch(`/bytes/${50 * MEBIBYTE}`),
    ...Array.from({ length: 8 }, () => fetch('/')),
  ]);
  t.equal(big?.length, 50 * MEBIBYTE, '50 MB through one connection while others go on');
  t.equal(small.length, 8);
  for (const body of small) t.match(body.toString(), /hello/);
  forward.stop('SIGINT').catch(() => {});
  await once(forward.child, 'close');
}
