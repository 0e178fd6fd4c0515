// Builds dist/: what the package runs. Types are checked by `npm run check`.
// Bundled into few files because Node takes a sixth of a start to find and read two hundred; dependencies stay outside.
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const out = join(root, 'dist');

rmSync(out, { recursive: true, force: true });
await build({
  // The second one is part of the first. Named beside it, it is in a chunk of its own and no part of main.js: it finds the
  // package's files from where it stands, and that is two folders below the package's, as in src.
  entryPoints: {
    main: join(root, 'src/main.ts'),
    'commands/package-files': join(root, 'src/commands/package-files.ts'),
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
const main = join(out, 'main.js');
if (!readFileSync(main, 'utf8').startsWith('#!')) throw new Error('dist/main.js cannot be run: its first line is gone');
chmodSync(main, 0o755);
