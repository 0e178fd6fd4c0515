// Builds dist/: what the package runs. Types are checked by `npm run check`.
// Bundled into few files because Node takes a sixth of a start to find and read two hundred; dependencies stay outside.
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const out = join(root, 'dist');

rmSync(out, { recursive: true, force: true });
await build({
  // The others are parts of the first. Named beside it, they are in files of their own and no part of main.js: they find
  // files from where they stand, the package's two folders above, or a program of its own beside them, as in src.
  entryPoints: {
    main: join(root, 'src/main.ts'),
    'commands/package-files': join(root, 'src/commands/package-files.ts'),
    'base/certificates-apart': join(root, 'src/base/certificates-apart.ts'),
    'base/certificates-child': join(root, 'src/base/certificates-child.ts'),
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
