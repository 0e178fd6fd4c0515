import { execFileSync } from 'node:child_process';
import { rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { TokenFile } from '../../../src/credentials/token-file.js';

/** A second passes between any two looks. */
let time = 0;
function tokenFile(t: Test, content: string): { path: string; file: TokenFile } {
  const path = join(t.testdir({ token: content }), 'token');
  return { path, file: new TokenFile({ path, now: () => (time += 1000), universe: 'googleapis.com' }) };
}

t.test('a token file is read again when it changes', async (t) => {
  const { path, file } = tokenFile(t, 'ya29.one\n');
  t.equal((await file.get()).value, 'ya29.one');
  writeFileSync(path, 'ya29.second\n');
  t.equal((await file.get()).value, 'ya29.second');
  writeFileSync(path, 'ya29.thirdx\n');
  utimesSync(path, 1, 1);
  const third = await file.get();
  writeFileSync(path, 'ya29.fourth\n');
  utimesSync(path, 1, 1);
  file.invalidate(third);
  t.equal((await file.get()).value, 'ya29.fourth', 'a refused token is looked for again though the times are equal');
});

t.test('a file that is just being filled holds the old token for a moment longer', async (t) => {
  const { path, file } = tokenFile(t, 'ya29.one\n');
  const one = await file.get();
  writeFileSync(path, '');
  t.equal((await file.get()).value, 'ya29.one', 'a shell’s > empties it first');
  file.invalidate(one);
  await t.rejects(file.get(), { code: 'token-file-unusable', message: /it is empty/ }, 'but not for ever');
  writeFileSync(path, 'ya29.two\n');
  t.equal((await file.get()).value, 'ya29.two');
  t.match(file.renewal, `gcloud auth print-access-token > ${path}`);
});

t.test('a token file that cannot be used says which and what was expected', async (t) => {
  for (const [content, why] of [
    ['', 'empty'],
    ['a b', 'spaces'],
    ['a\r\nX-Evil: 1', 'spaces'],
    ['x'.repeat(20_000), '20000 bytes'],
  ] as const) {
    const { path, file } = tokenFile(t, content);
    await t.rejects(file.get(), { code: 'token-file-unusable', message: new RegExp(`${path}.*${why}.*access token`) });
  }
  const { path, file } = tokenFile(t, 'a');
  rmSync(path);
  await t.rejects(file.get(), { code: 'token-file-unusable', message: /ENOENT.*tokenFile/ });
  t.match(file.snapshot().lastFailure, { message: /ENOENT/ });
});

t.test(
  'a pipe in the place of a token file does not stop the daemon',
  { skip: process.platform === 'win32' },
  async (t) => {
    const path = join(t.testdir(), 'token');
    execFileSync('mkfifo', [path]);
    await t.rejects(new TokenFile({ path, now: () => (time += 1000), universe: 'googleapis.com' }).get(), {
      message: /not a regular file/,
    });
  },
);
