import t from 'tap';
import { CutoffEstimate } from '../../../src/gateway/cutoff.js';

const MINUTE = 60_000;
const estimate = (remembered: number[] = []): CutoffEstimate =>
  new CutoffEstimate({ assumedMs: 20 * MINUTE, remembered });

t.test('one cut teaches nothing, two that agree do, downwards and upwards', async (t) => {
  const cutoff = estimate();
  t.equal(cutoff.expectedMs, 20 * MINUTE);
  cutoff.cutAt(10 * MINUTE);
  t.equal(cutoff.expectedMs, 20 * MINUTE);
  cutoff.cutAt(10 * MINUTE + 2000);
  t.equal(cutoff.expectedMs, 10 * MINUTE);
  cutoff.cutAt(30 * MINUTE);
  t.equal(cutoff.expectedMs, 20 * MINUTE, 'a stream that lived longer proves the ten minutes wrong');
  cutoff.cutAt(30 * MINUTE + 1000);
  t.equal(cutoff.expectedMs, 30 * MINUTE);
});

t.test('a flapping network is not taken for a limit', async (t) => {
  const cutoff = estimate();
  for (let i = 0; i < 20; i++) t.notOk(cutoff.cutAt(5000 + i));
  for (const minutes of [3, 7, 12]) cutoff.cutAt(minutes * MINUTE);
  t.equal(cutoff.expectedMs, 20 * MINUTE);
});

t.test('what was learned is remembered, a bounded number of ages', async (t) => {
  t.equal(estimate([25 * MINUTE, 25 * MINUTE + 5]).expectedMs, 25 * MINUTE);
  const cutoff = estimate();
  for (let i = 0; i < 40; i++) cutoff.cutAt(20 * MINUTE + i);
  t.equal(cutoff.ages.length, 16);
  cutoff.livedFor(29 * MINUTE);
  t.strictSame(cutoff.ages, []);
});
