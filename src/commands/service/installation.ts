import { CodedError } from '../../base/errors.js';
import { KubeconfigBook } from '../../daemon/kubeconfig-book.js';
import { ownHubAnswers } from '../../daemon/own-hub.js';
import type { Settings } from '../../daemon/settings.js';
import { type DaemonRecord, State } from '../../daemon/state.js';
import type { CommandIo } from '../io.js';
import { ownCommand } from '../package-files.js';
import { withProgress } from '../progress.js';
import { stopDaemon } from '../stop-daemon.js';
import { isReady } from '../wait.js';
import { chooseManager, managerNamed } from './choose-manager.js';
import type { ServiceHost } from './host.js';
import type { ManagerName, ServiceDefinition, ServiceManager } from './manager.js';
import { readRecord, recordPaths, removeRecord, requireRecord, type ServiceRecord, writeRecord } from './record.js';
import { recordStart } from './recorded-start.js';
import { socketsToHold } from './sockets.js';
import { shellArgument } from './templates.js';

const READY_MS = 60_000;
const POLL_MS = 100;
const STOPPING = 'waiting for the daemon to end what it carries';

/** The service of this user: every method tells on `io.out` what it did. */
export class Installation {
  readonly #io: CommandIo;
  readonly #host: ServiceHost;

  constructor(o: { io: CommandIo; host: ServiceHost }) {
    this.#io = o.io;
    this.#host = o.host;
  }

  async install(o: {
    settings: Settings;
    given: ReadonlyMap<string, string>;
    manager?: ManagerName;
    start: boolean;
    dryRun: boolean;
  }): Promise<void> {
    const paths = recordPaths(this.#io);
    const { start, notes } = recordStart({
      program: ownCommand(),
      settings: o.settings,
      given: o.given,
      env: this.#host.env,
      home: this.#host.home,
      environmentFile: paths.environmentFile,
    });
    const name = o.manager ?? (await chooseManager(this.#host));
    const manager = this.#manager(name);
    const before = readRecord(this.#io);
    let held = before?.definition.sockets ?? [];
    const define = async (): Promise<ServiceDefinition> => {
      held = manager.holdsSockets ? await socketsToHold(o.settings, held) : [];
      return { start, sockets: held, ...paths };
    };
    if (o.dryRun) {
      for (const { path, content } of manager.render(await define())) this.#io.out(`# ${path}\n${content}\n`);
      return;
    }
    const { stateDir } = o.settings;
    if (before !== undefined) await this.#leaveOld(before, name);
    await this.#assertFree(manager, stateDir, before);
    const record = (definition: ServiceDefinition): ServiceRecord => ({
      manager: name,
      version: this.#io.version,
      stateDir,
      definition,
    });
    let definition = await define();
    let written = await manager.write(definition);
    writeRecord(this.#io, record(definition));
    this.#tell([...written.steps, ...notes.map((note) => `note: ${note}`)]);
    if (written.steps.length === 0) this.#tell([`the ${manager.title} is up to date`]);
    if (!o.start) {
      this.#tell([`it starts ${manager.startsAt}`, 'Next: connect-gateway-proxy service start']);
      return;
    }
    const changed = written.changed || before?.version !== this.#io.version || !sameStart(before, definition);
    await this.#bringUp(manager, { definition, stateDir, restart: changed });
    // The first start gave out the memberships' ports: from now on all of them are held.
    definition = await define();
    written = await manager.write(definition);
    if (written.changed) {
      writeRecord(this.#io, record(definition));
      this.#tell(written.steps);
      await this.#bringUp(manager, { definition, stateDir, restart: true });
    }
    this.#tellRunning(stateDir);
    this.#tell([`it starts ${manager.startsAt}`, ...(await this.#lingerNote(name))]);
    this.#tell([
      `Next: connect-gateway-proxy memberships, or kubectl --kubeconfig ${o.settings.kubeconfigFile} get namespaces`,
    ]);
  }

  async uninstall(): Promise<void> {
    const record = readRecord(this.#io);
    const name = record?.manager ?? (await this.#chosenManager());
    const manager = name === undefined ? undefined : this.#manager(name);
    const steps: string[] = [];
    await withProgress(this.#io, STOPPING, async () => {
      if (record !== undefined && manager?.stop === undefined && (await this.#stopByHub(record))) {
        steps.push('stopped the daemon');
      }
      steps.push(...((await manager?.remove()) ?? []), ...removeRecord(this.#io));
    });
    this.#tell(steps.length === 0 ? ['no service is installed for this user: nothing to do'] : steps);
    if (record === undefined) return;
    const { stateDir } = record;
    const config = this.#io.paths.config;
    this.#tell([
      `left: ${stateDir} (local CA, secret, ports, kubeconfig) and, if you made it, ${config} (config.yaml, service.env)`,
      ...this.#mergedInto(stateDir).map((file) => `left: the contexts that you merged into ${file}`),
      `Next: nothing, or remove them: ${this.#removal(stateDir).join(' && ')}`,
    ]);
  }

  async start(): Promise<void> {
    const { manager, record } = this.#installed();
    await this.#bringUp(manager, { definition: record.definition, stateDir: record.stateDir, restart: false });
    this.#tellRunning(record.stateDir);
    this.#tell(['Next: connect-gateway-proxy status']);
  }

  async stop(): Promise<void> {
    const { manager, record } = this.#installed();
    const stopped = await withProgress(this.#io, STOPPING, async () => {
      if (manager.stop === undefined) return await this.#stopByHub(record);
      await manager.stop();
      return true;
    });
    if (!stopped) {
      this.#tell(['it was not running']);
      return;
    }
    this.#tell([
      `stopped; it starts again ${manager.startsAt}`,
      'Next: connect-gateway-proxy service start, or service uninstall to keep it from starting',
    ]);
  }

  async restart(): Promise<void> {
    const { manager, record } = this.#installed();
    await this.#bringUp(manager, { definition: record.definition, stateDir: record.stateDir, restart: true });
    this.#tellRunning(record.stateDir);
    this.#tell(['Next: connect-gateway-proxy status']);
  }

  /** Answers the exit code: 0 when it runs. */
  async status(): Promise<number> {
    const record = readRecord(this.#io);
    if (record === undefined) {
      this.#tell(['not installed', 'Next: connect-gateway-proxy service install']);
      return 1;
    }
    const manager = this.#manager(record.manager);
    const state = await manager.state();
    const daemon = await this.#answering(record.stateDir);
    const running = manager.stop === undefined ? daemon !== undefined : state.running;
    this.#tell([
      `${manager.title}: ${state.installed ? 'installed' : 'its definition is gone'}, ${state.enabled ? `starts ${manager.startsAt}` : 'does not start by itself'} (${state.detail})`,
      daemon === undefined
        ? 'daemon: not running'
        : `daemon: running, process ${daemon.pid}, ${daemon.hubUrl}, version ${daemon.version}`,
      `command: ${[...record.definition.start.program, ...record.definition.start.args].join(' ')}`,
    ]);
    if (!state.installed || record.version !== this.#io.version) {
      this.#tell([
        `Next: connect-gateway-proxy service install (it was installed by version ${record.version}, this is ${this.#io.version})`,
      ]);
    } else {
      this.#tell([
        `Next: connect-gateway-proxy ${running ? 'status' : 'service logs, then connect-gateway-proxy service start'}`,
      ]);
    }
    return running ? 0 : 1;
  }

  /** The manager's own reader of logs, or the file to read. */
  logs(): { attach: NonNullable<ServiceManager['logs']> } | { file: string } {
    const { manager, record } = this.#installed();
    return manager.logs === undefined ? { file: record.definition.logFile } : { attach: manager.logs };
  }

  /** Undefined where this machine has none, and so can have no service. */
  async #chosenManager(): Promise<ManagerName | undefined> {
    try {
      return await chooseManager(this.#host);
    } catch (error) {
      if (error instanceof CodedError && error.code === 'service-unsupported') return undefined;
      throw error;
    }
  }

  #mergedInto(stateDir: string): string[] {
    const state = State.read(stateDir);
    return state === undefined ? [] : new KubeconfigBook(state).merged.map(({ file }) => file);
  }

  /** Command lines; the state folder goes last, because it says whose contexts are ours. */
  #removal(stateDir: string): string[] {
    const quoted = (path: string): string => (this.#host.platform === 'win32' ? `"${path}"` : shellArgument(path));
    return [
      ...this.#mergedInto(stateDir).map(
        (file) => `connect-gateway-proxy kubeconfig --state-dir ${quoted(stateDir)} --remove ${quoted(file)}`,
      ),
      `${this.#host.platform === 'win32' ? 'rmdir /s' : 'rm -r'} ${quoted(stateDir)}`,
    ];
  }

  #manager(name: ManagerName): ServiceManager {
    return managerNamed(name, this.#host, recordPaths(this.#io).recordFile);
  }

  #installed(): { manager: ServiceManager; record: ServiceRecord } {
    const record = requireRecord(this.#io);
    return { manager: this.#manager(record.manager), record };
  }

  /** Another manager, or another state folder: the old one would go on beside the new one. */
  async #leaveOld(before: ServiceRecord, name: ManagerName): Promise<void> {
    if (before.manager === name) return;
    const old = this.#manager(before.manager);
    if (old.stop === undefined) await this.#stopByHub(before);
    this.#tell(await old.remove());
  }

  /** A daemon that a person started by hand holds the ports and the lock. */
  async #assertFree(manager: ServiceManager, stateDir: string, before: ServiceRecord | undefined): Promise<void> {
    const daemon = await this.#answering(stateDir);
    if (daemon === undefined) return;
    const isOurs = manager.stop === undefined ? before !== undefined : (await manager.state()).running;
    if (isOurs) return;
    throw new CodedError({
      code: 'already-running',
      message: `a daemon runs already with the state folder ${stateDir} (process ${daemon.pid}), and not as the service; stop it with connect-gateway-proxy stop --state-dir ${stateDir}, then run service install again`,
    });
  }

  async #bringUp(
    manager: ServiceManager,
    o: { definition: ServiceDefinition; stateDir: string; restart: boolean },
  ): Promise<void> {
    await withProgress(this.#io, 'waiting for the daemon to be ready', () => this.#startAndWait(manager, o));
  }

  async #startAndWait(
    manager: ServiceManager,
    o: { definition: ServiceDefinition; stateDir: string; restart: boolean },
  ): Promise<void> {
    const running = await this.#answering(o.stateDir);
    if (o.restart && running !== undefined && manager.restart === undefined) {
      const state = State.read(o.stateDir);
      if (state !== undefined) await stopDaemon(state, running, this.#io);
    }
    const restarts = o.restart && manager.restart !== undefined && (await manager.state()).running;
    if (restarts) await manager.restart?.();
    else if (running === undefined || o.restart) await manager.start(o.definition);
    const deadline = this.#io.clock.monotonic() + READY_MS;
    while (!(await isReady(o.stateDir).catch(() => false))) {
      if (this.#io.clock.monotonic() > deadline) {
        throw new CodedError({
          code: 'not-ready',
          message: `the service was started but not ready within ${READY_MS / 1000}s; see connect-gateway-proxy service logs`,
        });
      }
      await this.#io.pause(POLL_MS);
    }
  }

  async #stopByHub(record: ServiceRecord): Promise<boolean> {
    const daemon = await this.#answering(record.stateDir);
    const state = State.read(record.stateDir);
    if (daemon === undefined || state === undefined) return false;
    await stopDaemon(state, daemon, this.#io);
    return true;
  }

  async #answering(stateDir: string): Promise<DaemonRecord | undefined> {
    const state = State.read(stateDir);
    const daemon = state?.readDaemon();
    if (state === undefined || daemon === undefined) return undefined;
    return (await ownHubAnswers(state, daemon)) ? daemon : undefined;
  }

  /** A user's manager ends with the user's last session unless it lingers. */
  async #lingerNote(name: ManagerName): Promise<string[]> {
    if (name !== 'systemd') return [];
    const { code, stdout } = await this.#host.run('loginctl', [
      'show-user',
      String(this.#host.uid),
      '--property=Linger',
      '--value',
    ]);
    if (code !== 0 || stdout.trim() === 'yes') return [];
    return ['it ends when you log out; to keep it running: loginctl enable-linger'];
  }

  #tellRunning(stateDir: string): void {
    const daemon = State.read(stateDir)?.readDaemon();
    if (daemon !== undefined) this.#tell([`running: process ${daemon.pid}, ${daemon.hubUrl}`]);
  }

  #tell(lines: readonly string[]): void {
    for (const line of lines) this.#io.out(`${line}\n`);
  }
}

function sameStart(before: ServiceRecord | undefined, definition: ServiceDefinition): boolean {
  return JSON.stringify(before?.definition.start) === JSON.stringify(definition.start);
}
