// Puts the programs of src/relays/survive/programs into a module, as they are sent: without comments and indentation.
// `npm run embed` after a change of one of them; a test sees to it that it was done.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';

const root = join(import.meta.dirname, '..');
const folder = join(root, 'src', 'relays', 'survive');
export const MODULE = join(folder, 'program-texts.ts');

const PROGRAMS = { BOOTSTRAP: 'bootstrap.sh', PERL: 'holder.pl', PYTHON: 'holder.py', SHELL: 'holder.sh' };

export function moduleText() {
  const lines = Object.entries(PROGRAMS).map(([name, file]) => {
    const text = readFileSync(join(folder, 'programs', file), 'utf8');
    return `export const ${name} =\n  ${JSON.stringify(sentText(file, text))};\n`;
  });
  return `// Made from programs/ by ${relative(root, import.meta.filename)}: do not edit.\n${lines.join('')}`;
}

function sentText(file, text) {
  return text
    .split('\n')
    .filter((line) => !/^\s*(#|$)/.test(line))
    .map((line) => line.replace(/^ +/, (indent) => indentation(file, indent.length)))
    .map((line) => `${line}\n`)
    .join('');
}

/** It means something in Python only; what the bootstrap holds of it is short already. */
function indentation(file, width) {
  if (file === 'bootstrap.sh') return ' '.repeat(width);
  return file.endsWith('.py') ? ' '.repeat(Math.ceil(width / 4)) : '';
}

if (process.argv[1] === import.meta.filename) writeFileSync(MODULE, moduleText());
