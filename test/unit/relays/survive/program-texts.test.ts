import { readFileSync } from 'node:fs';
import t from 'tap';

t.test('what is sent is what stands in programs/', async (t) => {
  // A script, which has no types.
  const path = '../../../../scripts/embed-programs.mjs';
  const { MODULE, moduleText } = (await import(path)) as { MODULE: string; moduleText(): string };
  t.equal(readFileSync(MODULE, 'utf8'), moduleText(), 'npm run embed puts it there');
});
