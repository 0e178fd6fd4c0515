import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { get, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { sampleBytes } from '../../src/emulator/pods/sample-server.js';
import { type DemoDaemon, startDemoDaemon } from '../support/demo-daemon.js';
import { findKubectl, Kubectl, PLAIN_VERSIONS, STREAM_VERSIONS } from '../support/kubectl.js';
import { tellMissing } from '../support/missing.js';

const MEBIBYTE = 1024 * 1024;

interface Scene {
  readonly kubectl: Kubectl;
  readonly daemon: DemoDaemon;
}

for (const version of ['1.27', '1.29', '1.31', '1.33', '1.36']) {
  const found = findKubectl(version);
  if ('missing' in found) {
    tellMissing(t, found.missing);
    continue;
  }
  t.test(`kubectl ${version} forwards a port`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-forward-'));
    const daemon = await startDemoDaemon({ folder });
    t.teardown(async () => {
      await daemon.close();
      rmSync(folder, { recursive: true, force: true });
    });
    const kubectl = new Kubectl({ path: found.path, kubeconfig: daemon.kubeconfig, context: 'prod', home: folder });
    await t.test('through three cuts', (t) => overCuts(t, { kubectl, daemon }));
    await t.test('and a refused port ends it with the words of the kubelet', (t) =>
      refusedPort(t, { kubectl, daemon }),
    );
  });
  t.test(`kubectl ${version} never meets the cutoff`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'cgp-forward-'));
    const daemon = await startDemoDaemon({ folder, flags: { 'cutoff.assume': '10s', 'cutoff.rotateBefore': '9s' } });
    t.teardown(async () => {
      await daemon.close();
      rmSync(folder, { recursive: true, force: true });
    });
    const kubectl = new Kubectl({ path: found.path, kubeconfig: daemon.kubeconfig, context: 'prod', home: folder });
    await rotation(t, { kubectl, daemon });
  });
}

/** Tunnels live this long at most, and are rotated when half of it is over. */
const CUT_AFTER_MS = 2000;
const STORY_MS = 30_000;
const REQUEST_EVERY_MS = 100;

t.test('a cut every two seconds and a request every 100 ms, with any kubectl: none fails', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'cgp-forward-'));
  const daemon = await startDemoDaemon({ folder, flags: { 'cutoff.assume': '2s', 'cutoff.rotateBefore': '1s' } });
  t.teardown(async () => {
    await daemon.close();
    rmSync(folder, { recursive: true, force: true });
  });
  daemon.emulator.faults.add({ cutAfterMs: CUT_AFTER_MS, form: 'reset', match: 'upgrade' });
  const forwards = [...PLAIN_VERSIONS, ...STREAM_VERSIONS].flatMap((version) => {
    const found = findKubectl(version);
    if ('missing' in found) return [];
    const home = join(folder, version);
    mkdirSync(home);
    const kubectl = new Kubectl({ path: found.path, kubeconfig: daemon.kubeconfig, context: 'prod', home });
    return [{ version, running: kubectl.start(['port-forward', 'service/hello', ':80']) }];
  });
  await Promise.all(
    forwards.map(async ({ version, running }) => {
      const port = Number((await running.until(/from 127\.0\.0\.1:(\d+)/))[1]);
      let answered = 0;
      const failed: string[] = [];
      const asked: Promise<void>[] = [];
      for (const end = Date.now() + STORY_MS; Date.now() < end; ) {
        asked.push(
          fetch(port, '/').then(
            () => void answered++,
            (error: Error) => void failed.push(error.message),
          ),
        );
        await new Promise((resolve) => setTimeout(resolve, REQUEST_EVERY_MS));
      }
      await Promise.all(asked);
      t.strictSame(failed, [], `${version}: ${answered} requests`);
      t.equal(running.child.exitCode, null, `${version} has not ended`);
      running.stop('SIGINT').catch(() => {});
      await once(running.child, 'close');
    }),
  );
  const tunnels = daemon.emulator.requests.filter(({ kind, status }) => kind === 'upgrade' && status === 101).length;
  t.ok(tunnels >= STORY_MS / CUT_AFTER_MS, `${tunnels} tunnels, one after the other`);
});

async function overCuts(t: Test, { kubectl, daemon }: Scene): Promise<void> {
  const forwards = [0, 1].map(() => kubectl.start(['port-forward', 'service/hello', ':80']));
  const ports: number[] = [];
  for (const forward of forwards) ports.push(Number((await forward.until(/from 127\.0\.0\.1:(\d+)/))[1]));
  const [port = 0, otherPort = 0] = ports;
  for (const cut of [1, 2, 3]) {
    t.equal((await fetch(port, `/bytes/${20 * MEBIBYTE}`)).compare(sampleBytes(20 * MEBIBYTE)), 0, 'byte for byte');
    const several = await Promise.all([port, otherPort, port].map((each) => fetch(each, '/')));
    for (const body of several) t.match(body.toString(), 'hello');
    const open = [await stream(port), await stream(otherPort)];
    const resets = open.map((response) => once(response, 'error'));
    t.equal(daemon.emulator.faults.cutNow('reset', { match: 'upgrade' }), 1, 'two clients share one tunnel');
    for (const response of open) response.resume();
    for (const reset of resets) t.match(await reset, [{ code: 'ECONNRESET' }], `cut ${cut} is seen as a reset`);
  }
  for (const forward of forwards) {
    t.equal(forward.child.exitCode, null, 'kubectl has not ended');
    forward.stop('SIGINT').catch(() => {});
  }
  await Promise.all(forwards.map(({ child }) => child.exitCode ?? once(child, 'close')));
}

async function refusedPort(t: Test, { kubectl }: Scene): Promise<void> {
  const forward = kubectl.start(['port-forward', 'pod/two', ':9']);
  const [, port] = await forward.until(/from 127\.0\.0\.1:(\d+)/);
  await fetch(Number(port), '/').then(
    () => t.fail('nothing listens there'),
    () => {},
  );
  await once(forward.child, 'close');
  t.match(await forward.stderr, /connection refused/i);
}

async function rotation(t: Test, { kubectl, daemon }: Scene): Promise<void> {
  const forward = kubectl.start(['port-forward', 'service/hello', ':80']);
  const [, text] = await forward.until(/from 127\.0\.0\.1:(\d+)/);
  const port = Number(text);
  const old = echo(port);
  t.equal(await old.say('before'), 'before');
  // The next tunnel is asked for before the cutoff, and serves once the old one is gone.
  const { emulator } = daemon;
  const tunnels = () => emulator.requests.filter(({ kind, status }) => kind === 'upgrade' && status === 101).length;
  while (tunnels() < 2) await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(await old.say('after'), 'after', 'an open connection goes on');
  old.end();
  for (const _ of [1, 2, 3]) t.match((await fetch(port, '/')).toString(), 'hello');
  t.equal(forward.child.exitCode, null, 'kubectl has not ended');
  forward.stop('SIGINT').catch(() => {});
  await once(forward.child, 'close');
}

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
