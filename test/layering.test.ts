import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import t from 'tap';
import ts from 'typescript';

/** Which folder of src may import which: the one table. A folder may always import itself. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  'main.ts': ['commands', 'base'],
  commands: ['daemon', 'emulator', 'kubernetes', 'fleet', 'base'],
  daemon: ['frontdoor', 'relays', 'gateway', 'fleet', 'credentials', 'kubernetes', 'base'],
  frontdoor: ['relays', 'gateway', 'fleet', 'credentials', 'kubernetes', 'base'],
  relays: ['gateway', 'fleet', 'credentials', 'kubernetes', 'spdy', 'base'],
  fleet: ['credentials', 'base'],
  gateway: ['base'],
  credentials: ['base'],
  kubernetes: ['base'],
  spdy: ['base'],
  emulator: ['kubernetes', 'spdy', 'base'],
  base: [],
};
const LINE_LIMIT = 500;

const root = process.cwd();
const src = join(root, 'src');

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
}

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Absolute paths of the project's own files that it imports, types included. */
  readonly imports: readonly string[];
}

function load(path: string): SourceFile {
  const text = readFileSync(path, 'utf8');
  const imports = ts
    .preProcessFile(text, true, true)
    .importedFiles.map(({ fileName }) => fileName)
    .filter((name) => name.startsWith('.'))
    .map((name) => resolve(dirname(path), name.replace(/\.js$/, '.ts')));
  return { path, text, imports };
}

const files = filesBelow(src).map(load);

function folderOf(path: string): string {
  const [first = ''] = relative(src, path).split(/[\\/]/);
  return first;
}

t.test('imports go one way only', async (t) => {
  for (const file of files) {
    for (const imported of file.imports) {
      const from = folderOf(file.path);
      const to = folderOf(imported);
      if (from === to) continue;
      t.ok(ALLOWED[from]?.includes(to), `${relative(root, file.path)} imports ${relative(root, imported)}`);
    }
  }
});

t.test('every folder of src is in the table', async (t) => {
  for (const file of files) t.ok(folderOf(file.path) in ALLOWED, relative(root, file.path));
});

t.test('nothing imports itself by a detour', async (t) => {
  const importsOf = new Map(files.map((file) => [file.path, file.imports]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at !== -1) {
      cycles.push([...trail.slice(at), path].map((step) => relative(src, step)).join(' -> '));
      return;
    }
    if (done.has(path)) return;
    for (const next of importsOf.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const file of files) visit(file.path, []);
  t.strictSame(cycles, []);
});

t.test(`no file has more than ${LINE_LIMIT} lines`, async (t) => {
  for (const file of [...files, ...filesBelow(join(root, 'test')).map(load)]) {
    const lines = file.text.split('\n').length - 1;
    t.ok(lines <= LINE_LIMIT, `${relative(root, file.path)} has ${lines} lines`);
  }
});

t.test('nothing below daemon reads the environment or the process', async (t) => {
  for (const file of files) {
    if (['main.ts', 'commands', 'daemon'].includes(folderOf(file.path))) continue;
    const used = /\bprocess\.(env|argv|exit|cwd|on)\b/.exec(file.text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, ''));
    t.equal(used, null, `${relative(root, file.path)} uses ${used?.[0] ?? 'nothing of it'}`);
  }
});

/**
 * V8 makes a function that is assigned to a property (`o.f = () => {}`) in its old space at once, where it keeps all it
 * refers to alive until a full collection: done for each request it took half of the CPU and most of the p99.
 */
t.test('what runs for each request assigns no function literal to a property', async (t) => {
  const hot = new Set(['frontdoor', 'relays', 'gateway', 'kubernetes', 'spdy', 'base']);
  const found: string[] = [];
  for (const { path, text } of files.filter((file) => hot.has(folderOf(file.path)))) {
    const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
    const visit = (node: ts.Node): void => {
      const assigns =
        ts.isBinaryExpression(node) &&
        node.operatorToken.kind === ts.SyntaxKind.EqualsToken &&
        ts.isPropertyAccessExpression(node.left) &&
        (ts.isArrowFunction(node.right) || ts.isFunctionExpression(node.right));
      if (assigns) found.push(`${relative(root, path)}: ${node.getText().split('\n')[0]}`);
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  t.strictSame(found, []);
});
