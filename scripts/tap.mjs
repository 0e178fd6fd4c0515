// `tap run` with the plugins of .taprc. Tap builds itself for them in its first run, but goes through that run with the plugins
// that it came with, its slow TypeScript among them: so it is built before.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

function tap(...args) {
  const { status } = spawnSync('npx', ['--no-install', 'tap', ...args], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

const built = new URL('../node_modules/@tapjs/test/test-built/dist/esm/index.js', import.meta.url);
if (readFileSync(built, 'utf8').includes('"@tapjs/typescript"')) tap('build');
tap('run', ...process.argv.slice(2));
