import type { IncomingMessage } from 'node:http';
import { Agent, get } from 'node:https';
import { type FleetScene, startFleetScene } from './fleet-scene.js';
import { cpuMs, rssMiB } from './measure.js';
import { type Section, show } from './report.js';

const COUNTS = [50, 500, 2000];
const IDLE_MS = 10_000;

interface SessionReport {
  readonly live: readonly { readonly kind: string; readonly resumes: number; readonly gapsMs: readonly number[] }[];
}

/** Idle watches: what they cost, and how long it takes until all go on after one cut of them all. */
export async function watches(): Promise<Section> {
  const rows: Section['rows'][number][] = [];
  for (const count of COUNTS) rows.push(await measure(count));
  show('idle watches, all cut at once', rows);
  const figures = (key: string): number[] => rows.map((row) => Number(row[key]));
  const perWatch = (key: string): number => {
    const [, middle = Number.NaN, most = Number.NaN] = figures(key);
    return Math.log(most / middle) / Math.log((COUNTS[2] ?? 0) / (COUNTS[1] ?? 1));
  };
  return {
    name: 'watches',
    rows,
    ratios: [
      {
        what: 'exponent of the time to resume, 500 to 2,000 watches',
        better: 'less',
        rounds: [perWatch('all resumed, ms')],
      },
      { what: 'exponent of RSS, 500 to 2,000 watches', better: 'less', rounds: [perWatch('RSS MiB')] },
    ],
  };
}

async function measure(count: number): Promise<Section['rows'][number]> {
  const scene = await startFleetScene();
  const agent = new Agent({ keepAlive: true, ca: scene.endpoint.ca });
  try {
    const empty = rssMiB([scene.daemonPid]);
    const open = await Promise.all(Array.from({ length: count }, () => watch(scene, agent)));
    let lost = 0;
    for (const response of open) response.on('close', () => lost++);
    await until(async () => (await liveWatches(scene)).length === count);
    const cpuBefore = cpuMs([scene.daemonPid]);
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    const idleCpu = (cpuMs([scene.daemonPid]) - cpuBefore) / IDLE_MS;
    const rss = rssMiB([scene.daemonPid]);
    const begun = performance.now();
    await scene.cutAll();
    await until(async () => (await liveWatches(scene)).every(({ resumes }) => resumes > 0));
    const asked = performance.now() - begun;
    const gaps = (await liveWatches(scene)).flatMap(({ gapsMs }) => gapsMs);
    return {
      watches: count,
      'RSS before, MiB': Math.round(empty),
      'RSS MiB': Math.round(rss),
      'RSS after resuming, MiB': Math.round(rssMiB([scene.daemonPid])),
      'idle CPU %': Number((idleCpu * 100).toFixed(2)),
      'longest gap, ms': Math.round(Math.max(...gaps)),
      'all resumed, ms': Math.round(asked),
      'client connections lost': lost,
    };
  } finally {
    agent.destroy();
    scene.close();
  }
}

function watch(scene: FleetScene, agent: Agent): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${scene.endpoint.token}` };
    const url = `${scene.endpoint.url}/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=0&allowWatchBookmarks=true`;
    const request = get(url, { headers, agent }, (response) => {
      response.resume();
      response.on('error', () => {});
      if (response.statusCode === 200) resolve(response);
      else reject(new Error(`a watch was answered ${response.statusCode}`));
    });
    request.on('error', reject);
  });
}

async function liveWatches(scene: FleetScene): Promise<SessionReport['live']> {
  const { live } = (await scene.daemonGet('/-/sessions')) as SessionReport;
  return live.filter(({ kind }) => kind === 'watch');
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('waited for a minute in vain');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
