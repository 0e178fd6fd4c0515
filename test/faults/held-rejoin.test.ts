import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { CommandTerminal } from '../../src/commands/io.js';
import type { SessionReport } from '../../src/daemon/session-report.js';
import { type CommandOutcome, runCommand } from '../support/command-io.js';
import { HastyClock } from '../support/hasty-clock.js';
import { HeldScene } from '../support/held-scene.js';

/** A terminal whose keys a test presses. */
class TestTerminal implements CommandTerminal {
  screen = '';
  raw = false;
  readonly started: Promise<void>;
  #begin = (): void => {};
  #on: Parameters<CommandTerminal['start']>[0] | undefined;
  #wake = (): void => {};

  constructor() {
    this.started = new Promise((resolve) => {
      this.#begin = resolve;
    });
  }

  start(o: Parameters<CommandTerminal['start']>[0]): void {
    this.#on = o;
    this.raw = o.raw;
    o.onResize({ columns: 99, rows: 33 });
    this.#begin();
  }
  pause(): void {}
  resume(): void {}
  stop(): void {
    this.raw = false;
  }
  write(bytes: Uint8Array): void {
    this.screen += Buffer.from(bytes).toString('latin1');
    this.#wake();
  }
  type(text: string): void {
    this.#on?.onData(Buffer.from(text));
  }
  end(): void {
    this.#on?.onEnd();
  }
  async shows(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.screen)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

function command(scene: HeldScene, args: readonly string[], terminal?: TestTerminal): Promise<CommandOutcome> {
  const bytes = (chunk: Uint8Array): void => terminal?.write(chunk);
  const changes = terminal === undefined ? {} : { terminal: () => terminal, outBytes: bytes, errBytes: bytes };
  return runCommand(args, { folder: scene.folder, stateDir: join(scene.folder, 'state'), changes });
}

async function held(scene: HeldScene): Promise<SessionReport['held']> {
  const { out } = await command(scene, ['sessions', '-o', 'json']);
  return (JSON.parse(out) as SessionReport).held;
}

const PROD = 'projects/123456789012/locations/us-central1/memberships/prod';
const KILLED = ['debian', 'python', 'script', 'busybox'] as const;
// One daemon that is killed and comes back, again and again.
const killed = await HeldScene.open(t, KILLED);

t.test('after a kill of the daemon: listed, and joined again with all that it has', async (t) => {
  await rejoinAfter(t, killed, 'kill', ['debian', 'python', 'script']);
});

t.test('after a drain of the daemon: the client is told how, and it is joined again', async (t) => {
  await rejoinAfter(t, killed, 'drain', ['debian']);
});

async function rejoinAfter(
  t: Test,
  scene: HeldScene,
  how: 'kill' | 'drain',
  sets: readonly (typeof KILLED)[number][],
): Promise<void> {
  const clients = sets.map((set) => scene.exec(set, ['bash', '--norc', '-i'], { tty: true }));
  await Promise.all(
    clients.map(async (client) => {
      await client.type('X=42; echo ready$((1+1))\r');
      await client.until(/ready2/);
    }),
  );
  t.strictSame(await held(scene), [], 'what is listened to does not wait');
  await scene.restart(how);
  for (const client of clients) {
    t.not(await client.exitCode(), 0);
    if (how === 'drain') {
      t.match(client.status.message, /goes on in its container for 10 min.*sessions rejoin [a-z0-9]+$/);
    }
  }
  const file = join(scene.folder, 'state', 'held-sessions.json');
  t.equal(statSync(file).mode & 0o777, 0o600);
  t.notMatch(readFileSync(file, 'utf8'), /norc/, 'arguments are not kept');
  const sessions = await held(scene);
  const { out } = await command(scene, ['sessions']);
  const rejoining = await Promise.all(
    sets.map(async (set) => {
      const session = sessions.find(({ target }) => target === `default/${set}`);
      t.match(session, { membership: 'prod', container: 'main', program: 'bash', tty: true }, set);
      t.match(out, new RegExp(`WAITS .*\n(.*\n)*${session?.id} +prod +default/${set} \\(main\\) +bash at a terminal`));
      const terminal = new TestTerminal();
      const over = command(scene, ['sessions', 'rejoin', session?.id ?? ''], terminal);
      await terminal.started;
      t.equal(terminal.raw, true);
      terminal.type('echo x=$X $(stty size)\r');
      await terminal.shows(/x=42 33 99\r\n/);
      return { terminal, over };
    }),
  );
  // It survives the cutoff again.
  t.equal(scene.cut('reset'), sets.length);
  for (const { terminal, over } of rejoining) {
    terminal.type('echo again=$X; exit 6\r');
    t.match(await over, { code: 6 });
    t.match(terminal.screen, /again=42/);
  }
  await scene.untilClean();
  t.strictSame(await held(scene), []);
}

t.test('without a terminal: input, both outputs and the exit code', async (t) => {
  const scene = killed;
  const client = scene.exec('busybox', ['sh', '-c', 'echo first; read -r a; echo "got $a"; echo err >&2; exit 3']);
  await client.until(/first/);
  await scene.restart('kill');
  const [session] = await held(scene);
  const terminal = new TestTerminal();
  const rejoined = command(scene, ['sessions', 'rejoin', session?.id ?? ''], terminal);
  await terminal.started;
  terminal.type('word\n');
  terminal.end();
  t.match(await rejoined, { code: 3 });
  t.match(terminal.screen, /got word\n/);
  t.match(terminal.screen, /err\n/);
  await scene.untilClean();
});

t.test('what does not run any more is not listed, and cannot be joined', async (t) => {
  const scene = killed;
  const client = scene.exec('debian', ['sh', '-c', 'echo $PPID; cat']);
  await client.until(/\d+\n/);
  await scene.restart('kill');
  const { id } = (await held(scene))[0] ?? { id: '' };
  process.kill(Number(client.out.trim()), 'SIGKILL');
  await refused(t, scene, id, /does not run any more/);
  t.strictSame(await held(scene), []);
  await refused(t, scene, id, /no session .* waits in a container; none does/);
  await refused(t, scene, 'nosuch', /none does/);
});

async function refused(t: Test, scene: HeldScene, id: string, message: RegExp): Promise<void> {
  const { code, err } = await command(scene, ['sessions', 'rejoin', id], new TestTerminal());
  t.equal(code, 1);
  t.match(err, message);
}

t.test('rejoining takes the hub token, and a policy that allows exec', async (t) => {
  const scene = killed;
  const client = scene.exec('debian', ['cat']);
  await client.type('x');
  await client.until(/x/);
  await scene.restart('kill', { memberships: [{ name: PROD, policy: 'no-exec' }] });
  const [session] = await held(scene);
  const path = `/-/sessions/${session?.id}/rejoin`;
  t.equal((await scene.client.askHub(scene.daemon.daemon.hubUrl, path, 'GET')).status, 401);
  await refused(t, scene, session?.id ?? '', /policy no-exec/);
  t.match(await held(scene), [{ id: session?.id }], 'it goes on, and waits');
  await scene.restart('kill');
  const terminal = new TestTerminal();
  const rejoined = command(scene, ['sessions', 'rejoin', session?.id ?? ''], terminal);
  await terminal.started;
  terminal.end();
  t.match(await rejoined, { code: 0 });
  await scene.untilClean();
});

t.test('a client that has left for a while, with exec.linger', async (t) => {
  const scene = await HeldScene.open(t, ['debian'], { flags: { 'exec.linger': '1h' } });
  const client = scene.exec('debian', ['bash', '--norc', '-i'], { tty: true });
  await client.type('X=1\r');
  await client.until(/X=1/);
  client.webSocket.terminate();
  let session: SessionReport['held'][number] | undefined;
  while (session === undefined) [session] = await held(scene);
  t.ok(Math.abs((session.endsAt ?? 0) - Date.now() - 3_600_000) < 20_000, 'for an hour');
  const terminal = new TestTerminal();
  const rejoined = command(scene, ['sessions', 'rejoin', session.id], terminal);
  await terminal.started;
  terminal.type('exit $X\r');
  t.match(await rejoined, { code: 1 });
  await scene.untilClean();
});

t.test('out of reach for longer than an agent is waited for: who lingers as long goes on where it was', async (t) => {
  const clock = new HastyClock(1);
  const [patient, usual] = await Promise.all([
    HeldScene.open(t, ['debian', 'script'], { clock, flags: { 'exec.linger': '8h' } }),
    HeldScene.open(t, ['debian'], { clock }),
  ]);
  const scenes = [patient, usual];
  const going = (['debian', 'script'] as const).map((set) =>
    patient.exec(set, ['bash', '--norc', '-i'], { tty: true }),
  );
  const ending = usual.exec('debian', ['bash', '--norc', '-i'], { tty: true });
  for (const client of [...going, ending]) {
    await client.type('X=42; echo ready$((1+1))\r');
    await client.until(/ready2/);
  }
  const cut = (times?: number): void => {
    for (const scene of scenes) {
      scene.daemon.emulator.faults.add({ agentLost: true, ...(times === undefined ? {} : { times }) });
      scene.cut('reset');
    }
  };
  // After a first call in vain the container is looked at, by a clock that is right: later the daemon's is not the cluster's.
  cut(2);
  for (const client of [...going, ending]) {
    await client.type('echo known$((1+1))\r');
    await client.until(/known2/);
  }
  const cutAt = clock.monotonic();
  cut();
  await clock.faster(200, async () => {
    t.not(await ending.exitCode(), 0);
    while (clock.monotonic() - cutAt < 20 * 60_000) await new Promise((resolve) => setTimeout(resolve, 20));
  });
  t.match(ending.status.message, /could not be reached again within 15 min 0 s: .*it was not run a second time$/);
  for (const scene of scenes) scene.daemon.emulator.faults.clear();
  t.strictSame(await held(usual), [], 'its holder has waited for ten minutes');
  for (const client of going) {
    await client.type('echo x=$X; exit 5\r');
    await client.until(/x=42\r\n/);
    t.equal(await client.exitCode(), 5);
  }
  await patient.untilClean();
});

t.test('refused after a cut: it goes on in its container, and can be joined once that is allowed again', async (t) => {
  const scene = killed;
  const client = scene.exec('debian', ['bash', '--norc', '-i'], { tty: true });
  await client.type('X=7; echo ready$((1+1))\r');
  await client.until(/ready2/);
  const fault = scene.daemon.emulator.faults.add({ answer: 'stream-rbac-denied', match: 'upgrade' });
  scene.cut('reset');
  t.equal(await client.exitCode(), 1);
  t.match(client.status.message, /could not be joined again: .*forbidden/);
  scene.daemon.emulator.faults.remove(fault);
  const [session] = await held(scene);
  const terminal = new TestTerminal();
  const rejoined = command(scene, ['sessions', 'rejoin', session?.id ?? ''], terminal);
  await terminal.started;
  terminal.type('exit $X\r');
  t.match(await rejoined, { code: 7 });
  await scene.untilClean();
  t.strictSame(await held(scene), []);
});

t.test('a pod that is deleted takes with it what runs there, and what waits', async (t) => {
  const scene = await HeldScene.open(t, ['debian', 'python']);
  const pod = (name: string): string => `/api/v1/namespaces/default/pods/${name}`;
  const client = scene.exec('debian', ['cat']);
  const waits = scene.exec('python', ['cat']);
  for (const one of [client, waits]) {
    await one.type('x');
    await one.until(/x/);
  }
  await scene.client.request(pod('debian'), { method: 'DELETE' });
  t.equal(await client.exitCode(), 1);
  t.strictSame(await held(scene), []);
  await scene.restart('kill');
  t.match(await held(scene), [{ target: 'default/python' }]);
  await scene.client.request(pod('python'), { method: 'DELETE' });
  while ((await scene.client.request(pod('python'))).status !== 404)
    await new Promise((resolve) => setTimeout(resolve, 20));
  await scene.restart('kill');
  t.strictSame(await held(scene), []);
});
