import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { get, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { sampleBytes } from '../../src/emulator/pods/sample-server.js';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl, PLAIN_VERSIONS, type RunningKubectl, STREAM_VERSIONS } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';

const MEBIBYTE = 1024 * 1024;

interface Forwarder {
  readonly version: string;
  readonly kubectl: Kubectl;
}

/** A daemon with a home for each kubectl. */
async function open(
  t: Test,
  versions: readonly string[],
  flags: Record<string, string> = {},
): Promise<{ daemon: DemoDaemon; forwarders: Forwarder[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'cgp-forward-'));
  const daemon = await startDemoDaemon({ folder, flags });
  t.teardown(async () => {
    await daemon.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const forwarders = versions.flatMap((version) => {
    const found = findKubectl(version);
    if ('missing' in found) {
      tellMissing(t, found.missing);
      return [];
    }
    const home = join(folder, version);
    mkdirSync(home);
    const kubectl = new Kubectl({ path: found.path, kubeconfig: daemon.kubeconfig, context: 'prod', home });
    return [{ version, kubectl }];
  });
  return { daemon, forwarders };
}

const ports = (forwards: readonly RunningKubectl[]): Promise<number[]> =>
  Promise.all(forwards.map(async (forward) => Number((await forward.until(/from 127\.0\.0\.1:(\d+)/))[1])));

async function stop(t: Test, forwards: readonly RunningKubectl[]): Promise<void> {
  for (const forward of forwards) {
    t.equal(forward.child.exitCode, null, 'kubectl has not ended');
    forward.stop('SIGINT').catch(() => {});
  }
  await Promise.all(forwards.map(({ child }) => child.exitCode ?? once(child, 'close')));
}

/** SPDY, SPDY again, and the tunnel in a WebSocket. */
const SOME_VERSIONS = ['1.27', '1.29', '1.31', '1.33', '1.36'];

t.jobs = 2;

t.test('ports go on through three cuts, over one tunnel for all clients', { buffered: true }, async (t) => {
  const { daemon, forwarders } = await open(t, SOME_VERSIONS);
  const forwards = forwarders.map(({ kubectl }) => kubectl.start(['port-forward', 'service/hello', ':80']));
  const forwarded = await ports(forwards);
  for (const cut of [1, 2, 3]) {
    for (const port of forwarded) {
      const bytes = await fetch(port, `/bytes/${4 * MEBIBYTE}`);
      t.equal(bytes.compare(sampleBytes(4 * MEBIBYTE)), 0, 'byte for byte');
    }
    const several = await Promise.all([...forwarded, ...forwarded].map((each) => fetch(each, '/')));
    for (const body of several) t.match(body.toString(), 'hello');
    const short = forwarded.flatMap((port) => Array.from({ length: 20 }, () => fetch(port, '/')));
    t.equal((await Promise.all(short)).length, 20 * forwarded.length, 'many short connections at once');
    const open = await Promise.all(forwarded.map(stream));
    const resets = open.map((response) => once(response, 'error'));
    t.equal(daemon.emulator.faults.cutNow('reset', { match: 'upgrade' }), 1, 'all clients share one tunnel');
    for (const response of open) response.resume();
    for (const reset of resets) t.match(await reset, [{ code: 'ECONNRESET' }], `cut ${cut} is seen as a reset`);
  }
  await stop(t, forwards);

  const refused = forwarders.map(({ kubectl }) => kubectl.start(['port-forward', 'pod/two', ':9']));
  const nowhere = await ports(refused);
  for (const [i, forward] of refused.entries()) {
    const ended = once(forward.child, 'close');
    await t.rejects(fetch(nowhere[i] ?? 0, '/'), 'nothing listens there');
    await ended;
    t.match(await forward.stderr, /connection refused/i, 'a refused port ends it with the words of the kubelet');
  }
});

t.test('no client meets the cutoff', { buffered: true }, async (t) => {
  const { daemon, forwarders } = await open(t, SOME_VERSIONS, { 'cutoff.assume': '10s', 'cutoff.rotateBefore': '9s' });
  const forwards = forwarders.map(({ kubectl }) => kubectl.start(['port-forward', 'service/hello', ':80']));
  const forwarded = await ports(forwards);
  const olds = forwarded.map(echo);
  for (const old of olds) t.equal(await old.say('before'), 'before');
  // The next tunnel is asked for before the cutoff, and serves once the old one is gone.
  const { emulator } = daemon;
  const tunnels = () => emulator.requests.filter(({ kind, status }) => kind === 'upgrade' && status === 101).length;
  for (const before = tunnels(); tunnels() === before; ) await new Promise((resolve) => setTimeout(resolve, 50));
  for (const old of olds) {
    t.equal(await old.say('after'), 'after', 'an open connection goes on');
    old.end();
  }
  for (const port of [...forwarded, ...forwarded]) t.match((await fetch(port, '/')).toString(), 'hello');
  await stop(t, forwards);
});

/** Tunnels live this long at most; they are rotated early, and what is open by then has three quarters of it to end. */
const CUT_AFTER_MS = 2000;
/** Less than a connection has left before the cut, also where the next tunnel is slow to come; one that takes longer may be reset. */
const LEFT_MS = 1000;
const STORY_MS = 30_000;
const REQUEST_EVERY_MS = 100;

t.test('a cut every two seconds and a request every 100 ms, with any kubectl: none fails', async (t) => {
  const versions = [...PLAIN_VERSIONS, ...STREAM_VERSIONS];
  const { daemon, forwarders } = await open(t, versions, { 'cutoff.assume': '2s', 'cutoff.rotateBefore': '1500ms' });
  daemon.emulator.faults.add({ cutAfterMs: CUT_AFTER_MS, form: 'reset', match: 'upgrade' });
  const forwards = forwarders.map(({ version, kubectl }) => {
    return { version, running: kubectl.start(['port-forward', 'service/hello', ':80']) };
  });
  await Promise.all(
    forwards.map(async ({ version, running }) => {
      const port = Number((await running.until(/from 127\.0\.0\.1:(\d+)/))[1]);
      let answered = 0;
      const failed: string[] = [];
      let outlived = 0;
      const asked: Promise<void>[] = [];
      for (const end = Date.now() + STORY_MS; Date.now() < end; ) {
        const begun = Date.now();
        const request = fetch(port, '/').then(
          () => void answered++,
          (error: Error) => {
            const ms = Date.now() - begun;
            // Only a machine that is far too busy has such: they lived longer than any tunnel is kept for them.
            if (ms > LEFT_MS) outlived++;
            else failed.push(`${error.message}, after ${ms} ms`);
          },
        );
        asked.push(request);
        await new Promise((resolve) => setTimeout(resolve, REQUEST_EVERY_MS));
        // On a machine that cannot keep up they would pile up until none is done within the life of a tunnel.
        await request;
      }
      await Promise.all(asked);
      t.strictSame(failed, [], `${version}: ${answered} requests`);
      t.ok(answered > 10 * outlived, `${version}: ${outlived} took so long that they met a cut`);
      t.equal(running.child.exitCode, null, `${version} has not ended`);
      running.stop('SIGINT').catch(() => {});
      await once(running.child, 'close');
    }),
  );
  const tunnels = daemon.emulator.requests.filter(({ kind, status }) => kind === 'upgrade' && status === 101).length;
  t.ok(tunnels >= STORY_MS / CUT_AFTER_MS, `${tunnels} tunnels, one after the other`);
});

/** One connection that says what it is told. */
function echo(port: number): { say(text: string): Promise<string>; end(): void } {
  const asked = request({ port, path: '/echo', method: 'POST', agent: false });
  const answered = once(asked, 'response') as Promise<[IncomingMessage]>;
  return {
    say: async (text) => {
      asked.write(text);
      const [response] = await answered;
      return String((await once(response, 'data'))[0]);
    },
    end: () => void asked.end(),
  };
}

function stream(port: number): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get({ port, path: `/bytes/${100_000 * MEBIBYTE}`, agent: false }, (response) => {
      response.pause();
      response.on('error', () => {});
      resolve(response);
    }).on('error', reject);
  });
}

function fetch(port: number, path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    get({ port, path, agent: false }, (response) => {
      response.toArray().then((chunks) => resolve(Buffer.concat(chunks as Buffer[])), reject);
    }).on('error', reject);
  });
}
