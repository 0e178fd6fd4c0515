// `tap run` on compiled copies of src and test, so that no test file's process compiles them anew: a third of the time of all
// tests. What is no TypeScript is linked, so that paths relative to a module lead where they lead in the sources.
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const OUT = '.compiled';
process.chdir(fileURLToPath(new URL('..', import.meta.url)));

function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
}

async function compile() {
  const files = ['src', 'test'].flatMap(filesBelow);
  const sources = files.filter((file) => file.endsWith('.ts'));
  await build({
    entryPoints: sources,
    outdir: OUT,
    outbase: '.',
    format: 'esm',
    target: 'node20',
    sourcemap: true,
    logLevel: 'warning',
  });
  const others = files.filter((file) => !file.endsWith('.ts'));
  // File by file: what is swept below must never lie behind a link.
  const linked = [...others, 'package.json', ...['scripts', 'service'].flatMap(filesBelow)];
  for (const file of linked) link(file);
  const kept = new Set([...linked, ...sources.flatMap((file) => [js(file), `${js(file)}.map`])]);
  for (const file of filesBelow(OUT)) {
    const name = relative(OUT, file);
    if (!kept.has(name)) rmSync(file);
  }
}

function js(file) {
  return file.replace(/\.ts$/, '.js');
}

function link(file) {
  const at = join(OUT, file);
  if (existsSync(at) && lstatSync(at).isSymbolicLink()) return;
  mkdirSync(dirname(at), { recursive: true });
  symlinkSync(resolve(file), at);
}

function tap(...args) {
  const preload = `--import=${new URL('without-import-hooks.mjs', import.meta.url)}`;
  const { status } = spawnSync('node_modules/.bin/tap', args, {
    stdio: 'inherit',
    env: { ...process.env, NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} ${preload}` },
  });
  if (status !== 0) process.exit(status ?? 1);
}

await compile();
// Tap builds itself for the plugins of .taprc in its first run, but goes through that run with those that it came with.
const built = 'node_modules/@tapjs/test/test-built/dist/esm/index.js';
if (readFileSync(built, 'utf8').includes('"@tapjs/typescript"')) tap('build');
tap('run', ...process.argv.slice(2).map((arg) => (arg.startsWith('-') ? arg : join(OUT, js(arg)))));
