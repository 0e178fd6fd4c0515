import { run, startFleetScene } from './fleet-scene.js';
import { median } from './measure.js';
import { type Section, show } from './report.js';

const RTT_MS = [0, 40, 120];
const ROUNDS = Number(process.env['CGP_BENCH_ROUNDS'] ?? 3) + 2;

/** The wall time of one whole `kubectl get`, its process included, at three distances from the gateway. */
export async function roundTrips(): Promise<Section> {
  const scene = await startFleetScene();
  try {
    const { direct, plugin, daemon } = scene.kubeconfigs;
    const time = async (kubeconfig: string): Promise<number> => {
      const begun = performance.now();
      await run(scene.kubectl, ['get', 'pods', '--kubeconfig', kubeconfig], scene.pluginEnv);
      return performance.now() - begun;
    };
    const rows: Section['rows'][number][] = [];
    const ratios: Section['ratios'][number][] = [];
    for (const rttMs of RTT_MS) {
      await scene.clearFaults();
      if (rttMs > 0) await scene.fault({ rttMs });
      const times = { plugin: [] as number[], token: [] as number[], daemon: [] as number[] };
      // The first of each fills kubectl's discovery cache.
      for (const kubeconfig of [plugin, direct, daemon]) await time(kubeconfig);
      for (let round = 0; round < ROUNDS; round++) {
        times.plugin.push(await time(plugin));
        times.token.push(await time(direct));
        times.daemon.push(await time(daemon));
      }
      rows.push({
        'RTT ms': rttMs,
        'direct, auth plugin, ms': Math.round(median(times.plugin)),
        'direct, ready token, ms': Math.round(median(times.token)),
        'daemon, ms': Math.round(median(times.daemon)),
      });
      for (const way of ['plugin', 'token'] as const) {
        ratios.push({
          what: `kubectl get at ${rttMs} ms RTT, to direct with ${way === 'plugin' ? 'the auth plugin' : 'a ready token'}`,
          better: 'less',
          rounds: times.daemon.map((ms, round) => ms / (times[way][round] ?? Number.NaN)),
        });
      }
    }
    show('one kubectl get, whole', rows);
    return { name: 'round-trips', rows, ratios };
  } finally {
    scene.close();
  }
}
