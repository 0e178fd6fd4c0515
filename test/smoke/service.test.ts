import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { parse } from 'yaml';
import { systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import { startEmulator } from '../../src/emulator/emulator.js';
import { emulatedMembership, type WrittenKubeconfig } from '../support/daemon-scene.js';

const MAIN = join(process.cwd(), 'dist', 'main.js');
const MANAGER = join(process.cwd(), 'test', 'support', 'service-manager.py');
const CLIENTS = 50;

const isThere = (program: string): boolean => spawnSync(program, ['--version']).error === undefined;
const missing = ['python3', 'systemd-notify'].filter((program) => !isThere(program));
const skip =
  process.platform !== 'linux' || (missing.length > 0 && !process.env['CI'])
    ? 'needs Linux with systemd-notify and python3'
    : false;

// Short: sockets' paths are limited.
const home = mkdtempSync(join(tmpdir(), 'cgp-'));
const emulator = await startEmulator({
  memberships: [emulatedMembership('prod')],
  clock: systemClock,
  log: silentLogger,
});
t.teardown(async () => {
  await emulator.close();
  rmSync(home, { recursive: true, force: true });
});
writeFileSync(join(home, 'token'), emulator.accessToken);
writeFileSync(join(home, 'ca.pem'), emulator.caCertificate);
const { url } = emulator;
const config = join(home, 'config.yaml');

/** The program of test/support/service-manager.py, line by line. */
class Manager {
  readonly lines: string[] = [];
  readonly #child: ReturnType<typeof spawn>;
  #wake = (): void => {};
  #read = 0;

  constructor(ports: number, watchdogUsec: number) {
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOME: home,
      WATCHDOG_USEC: String(watchdogUsec),
    };
    const words = [MANAGER, String(ports), join(home, 'notify'), process.execPath, MAIN, 'run', '--config', config];
    this.#child = spawn('python3', words, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('no output');
    createInterface({ input: stdout }).on('line', (line) => {
      this.lines.push(line);
      this.#wake();
    });
  }

  say(word: 'start' | 'stop' | 'quit'): void {
    this.#child.stdin?.write(`${word}\n`);
  }

  /** The next line that matches; what comes before it is passed over. */
  async until(pattern: RegExp): Promise<string> {
    for (;;) {
      const line = this.lines[this.#read];
      if (line !== undefined) {
        this.#read++;
        if (pattern.test(line)) return line;
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

t.test('under a manager: its sockets, its notify socket, and a restart under load', { skip }, async (t) => {
  const manager = new Manager(3, 600_000);
  t.teardown(() => manager.kill());
  const port = async (): Promise<number> => Number((await manager.until(/^port/)).slice(5));
  const ports = [await port(), await port(), await port()];
  const [hub = 0, first = 0, spare = 0] = ports;
  writeFileSync(
    config,
    JSON.stringify({
      projects: ['demo-project'],
      identities: { default: { source: 'token-file', tokenFile: 'token' } },
      endpoints: { gkehub: url, connectgateway: url, cloudresourcemanager: url, caFile: 'ca.pem' },
      // The hub's port is the one that the socket named hub has.
      listen: { port: 7443, membershipPorts: `${first}-${first}` },
      stateDir: 'state',
      log: { level: 'error' },
    }),
  );
  const exit = async (): Promise<string> => await manager.until(/^exited/);

  manager.say('start');
  await manager.until(/^notify READY=1$/);
  t.equal(await manager.until(/^notify STATUS/), `notify STATUS=1 memberships at https://127.0.0.1:${hub}`);
  await manager.until(/^notify WATCHDOG=1$/);
  t.pass('the watchdog is fed, at half of its time');

  const kubeconfig = parse(readFileSync(join(home, 'state', 'kubeconfig'), 'utf8')) as WrittenKubeconfig;
  const [cluster] = kubeconfig.clusters;
  t.equal(cluster?.cluster.server, `https://127.0.0.1:${first}`);
  const ca = Buffer.from(cluster?.cluster['certificate-authority-data'] ?? '', 'base64');
  const headers = { Authorization: `Bearer ${kubeconfig.users[0]?.user.token}` };
  /** One connection of its own, as every run of kubectl has. */
  const poll = (at: number, path: string): Promise<string> =>
    new Promise((resolve) => {
      get({ host: '127.0.0.1', port: at, path, ca, headers, agent: false }, (response) => {
        response.resume();
        response.on('end', () => resolve(String(response.statusCode)));
        response.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      }).on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  t.equal(await poll(spare, '/'), '404', 'a socket with nothing behind it says so instead of hanging');

  const hubPath = '/v1/projects/demo-project/locations/global/memberships/prod/version';
  const answers = new Map<string, number>();
  let polling = true;
  let polls = 0;
  let wake = (): void => {};
  const clients = Array.from({ length: CLIENTS }, async (_, index) => {
    while (polling) {
      // Half of them at the hub.
      const answer = await (index % 2 === 0 ? poll(first, '/version') : poll(hub, hubPath));
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
      polls++;
      wake();
    }
  });
  const more = async (count: number): Promise<void> => {
    const goal = polls + count;
    while (polls < goal) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  for (let restart = 0; restart < 2; restart++) {
    await more(100);
    manager.say('stop');
    await manager.until(/^notify STOPPING=1$/);
    t.equal(await exit(), 'exited 0');
    manager.say('start');
    await manager.until(/^notify READY=1$/);
  }
  await more(100);
  polling = false;
  await Promise.all(clients);
  t.strictSame([...answers.keys()], ['200'], `every one of ${polls} requests over two restarts was answered`);

  manager.say('stop');
  await exit();
  manager.say('quit');
});
