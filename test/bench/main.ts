import { join } from 'node:path';
import { held } from './held.js';
import { memory } from './memory.js';
import { load, regressions, type Section, save, showRatios } from './report.js';
import { requests } from './requests.js';
import { roundTrips } from './round-trips.js';
import { startUp } from './start-up.js';
import { streams } from './streams.js';
import { upstreams } from './upstreams.js';
import { watchFlow } from './watch-flow.js';
import { watches } from './watches.js';

const SECTIONS: Readonly<Record<string, () => Promise<Section>>> = {
  requests,
  'round-trips': roundTrips,
  watches,
  'watch-flow': watchFlow,
  streams,
  held,
  'start-up': startUp,
  upstreams,
  memory,
};

const KEPT = join(process.cwd(), 'test/bench/kept-results.json');

const words = process.argv.slice(2);
const options = new Set(words.filter((word) => word.startsWith('--')));
const names = words.filter((word) => !word.startsWith('--'));
const unknown = [
  ...names.filter((name) => !(name in SECTIONS)),
  ...[...options].filter((option) => option !== '--keep' && option !== '--guard'),
];
if (unknown.length > 0) {
  console.error(
    `unknown: ${unknown.join(', ')}. Sections: ${Object.keys(SECTIONS).join(', ')}. --keep writes ${KEPT}; --guard compares with it, and fails where a ratio is worse by more than the noise.`,
  );
  process.exit(2);
}

const results: Section[] = [];
for (const [name, measure] of Object.entries(SECTIONS)) {
  if (names.length === 0 || names.includes(name)) results.push(await measure());
}
showRatios(results);
save(join(process.cwd(), '.bench', 'results.json'), results);
if (options.has('--keep')) save(KEPT, results);
if (options.has('--guard')) {
  const kept = load(KEPT);
  const worse = kept === undefined ? [`there are no kept results in ${KEPT}`] : regressions(kept, results);
  for (const line of worse) console.error(`worse: ${line}`);
  if (worse.length > 0) process.exitCode = 1;
  else console.log('no ratio is worse than the kept one beyond the noise');
}
