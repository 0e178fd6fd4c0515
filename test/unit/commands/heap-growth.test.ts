import { spawnSync } from 'node:child_process';
import t from 'tap';
import { HEAP_GROWTH } from '../../../src/commands/heap-growth.js';

t.test('the V8 of this Node knows the flag, also while a program runs', (t) => {
  const program = `v8.setFlagsFromString(${JSON.stringify(HEAP_GROWTH)}); gc(); console.log('goes on')`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', '-e', program], { encoding: 'utf8' });
  t.equal(stderr, '', 'an unknown flag is told of there');
  t.equal(stdout, 'goes on\n');
  t.end();
});
