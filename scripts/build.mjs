// Builds dist/: what the package runs. Types are checked by `npm run check`.
// Bundled into few files because Node takes a sixth of a start to find and read two hundred; dependencies stay outside.
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const out = join(root, 'dist');

rmSync(out, { recursive: true, force: true });
await build({
  // The others are parts of the first. Named beside it, they are in chunks of their own and no part of main.js: they find
  // files from where they stand, and that is two folders below the package's, as in src.
  entryPoints: {
    main: join(root, 'src/main.ts'),
    'commands/package-files': join(root, 'src/commands/package-files.ts'),
    'base/certificates-apart': join(root, 'src/base/certificates-apart.ts'),
  },
  outdir: out,
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: true,
  sourcesContent: false,
  logLevel: 'warning',
});
// A program of its own, whose start a first start of the daemon waits for: with its dependencies in it it takes 0.1 s less.
await build({
  entryPoints: [join(root, 'src/base/certificates-child.ts')],
  outfile: join(out, 'base/certificates-child.js'),
  bundle: true,
  minify: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
});
const main = join(out, 'main.js');
if (!readFileSync(main, 'utf8').startsWith('#!')) throw new Error('dist/main.js cannot be run: its first line is gone');
chmodSync(main, 0o755);
