// Builds the single-file executable: build/connect-gateway-proxy (.exe), for the platform and the Node it runs on.
// Node's single executable applications take one CommonJS file: esbuild makes it, with the package's own files inside.
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { inject } from 'postject';

/** Where node looks for the blob's marker: fixed by Node. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

const root = join(import.meta.dirname, '..');
const folder = join(root, 'build');
const executable = join(folder, process.platform === 'win32' ? 'connect-gateway-proxy.exe' : 'connect-gateway-proxy');
const bundle = join(folder, 'bundle.cjs');
const blob = join(folder, 'sea.blob');
const config = join(folder, 'sea.json');

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);

/** What src/commands/package-files.ts reads. */
const embedded = { 'package.json': JSON.stringify({ version: version() }) };
for (const entry of readdirSync(join(root, 'service'), { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const path = join(entry.parentPath, entry.name);
  embedded[path.slice(root.length + 1).replaceAll('\\', '/')] = readFileSync(path, 'utf8');
}

await build({
  entryPoints: [join(root, 'src', 'main.ts')],
  outfile: bundle,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [{ name: 'no-native-code', setup: leaveOutNativeCode }],
  define: {
    CGP_EMBEDDED_FILES: JSON.stringify(embedded),
    // Only read where files are not embedded.
    'import.meta.url': '"file:///"',
  },
});
writeFileSync(config, JSON.stringify({ main: bundle, output: blob, disableExperimentalSEAWarning: true }));
execFileSync(process.execPath, ['--experimental-sea-config', config], { stdio: ['ignore', 'ignore', 'inherit'] });
copyFileSync(process.execPath, executable);
chmodSync(executable, 0o755);
if (process.platform === 'darwin') execFileSync('codesign', ['--remove-signature', executable]);
await inject(executable, 'NODE_SEA_BLOB', readFileSync(blob), {
  sentinelFuse: FUSE,
  ...(process.platform === 'darwin' ? { machoSegmentName: 'NODE_SEA' } : {}),
});
// Apple runs nothing unsigned; this signature says nothing of who made it.
if (process.platform === 'darwin') execFileSync('codesign', ['--sign', '-', executable]);
for (const path of [bundle, blob, config]) rmSync(path);
process.stdout.write(`${executable}\n`);

/**
 * A demo pod's terminal is all that needs one of them, and says so where it is missing; ws looks for the others and goes
 * without. Left to be looked for at run time they would come from whatever folder a person stands in.
 */
function leaveOutNativeCode({ onResolve, onLoad }) {
  onResolve({ filter: /^(?:@lydell\/node-pty|bufferutil|utf-8-validate)$/ }, ({ path }) => ({
    path,
    namespace: 'left-out',
  }));
  onLoad({ filter: /.*/, namespace: 'left-out' }, ({ path }) => ({
    contents: `throw new Error('${path} is native code, which a single file cannot hold');`,
  }));
}

function version() {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version;
}
