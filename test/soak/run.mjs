// `npm run soak -- --cuts 1000`: tap takes no options of ours, so they become the environment of the test.
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { cuts: { type: 'string', default: '1000' } } });
if (!/^[1-9]\d{0,6}$/.test(values.cuts)) {
  console.error(`--cuts ${values.cuts}: expected a whole number, e.g. --cuts 1000`);
  process.exit(2);
}
const { status } = spawnSync('node', ['scripts/tap.mjs', '--timeout=0', 'test/soak/*.test.ts'], {
  stdio: 'inherit',
  env: { ...process.env, CGP_TEST_SOAK_CUTS: values.cuts, NODE_OPTIONS: '--expose-gc' },
});
process.exit(status ?? 1);
