import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.js';
import { CodedError, describeError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { chooseRemoteProtocol, PORT_FORWARD_TUNNEL, REMOTE_PROTOCOLS } from '../../kubernetes/remote-command.js';
import { serveAttach } from './attach.js';
import { ChannelSocket } from './channel-socket.js';
import { Container } from './container.js';
import { parseStreamOptions, serveExec } from './exec.js';
import type { PodNetwork } from './pod-network.js';
import { sandboxIdOf } from './pod-network.js';
import type { ContainerStatus, LogOptions, PodRuntime, PodSpec, PodUpgrade } from './pod-runtime.js';
import { servePortForward } from './port-forward.js';
import { parseForwardedPorts, servePortChannels } from './port-forward-channels.js';
import { acceptWebSocket, offeredProtocols, Refusal, refuseUpgrade } from './upgrade-socket.js';

/** Where programs are looked for when the caller says nothing: the reader of the environment is above this layer. */
const DEFAULT_ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };
/** The old port-forward, on numbered channels. */
const PORT_CHANNEL_PROTOCOLS = ['v4.channel.k8s.io', 'v4.base64.channel.k8s.io'];
/** A DNS label or subdomain, as Kubernetes names; never a path. */
const SAFE_NAME = /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/;

/** Pods whose containers are local processes, each with a private folder `<rootDir>/<pod uid>/<container>`. */
export function createPodRuntime(options: {
  rootDir: string;
  clock: Clock;
  log: Logger;
  /** Base environment of every program; only a usual PATH when absent. */
  env?: Readonly<Record<string, string>>;
}): PodRuntime {
  return new LocalPodRuntime(options);
}

class LocalPodRuntime implements PodRuntime {
  readonly #rootDir: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #env: Readonly<Record<string, string>>;
  readonly #pods = new Map<string, Map<string, Container>>();
  readonly #listeners: ((uid: string) => void)[] = [];
  readonly #sockets = new Set<WebSocket>();
  #closed = false;

  constructor(options: { rootDir: string; clock: Clock; log: Logger; env?: Readonly<Record<string, string>> }) {
    this.#rootDir = options.rootDir;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#env = options.env ?? DEFAULT_ENV;
  }

  start(pod: PodSpec): void {
    if (this.#closed) return;
    for (const name of [pod.uid, ...pod.containers.map((container) => container.name)]) {
      if (!SAFE_NAME.test(name)) throw notFound(`"${name}" is no name of a pod or container`);
    }
    const containers = this.#pods.get(pod.uid) ?? new Map<string, Container>();
    const added: Container[] = [];
    for (const spec of pod.containers) {
      if (containers.has(spec.name)) continue;
      const container = new Container({
        pod,
        spec,
        folder: join(this.#rootDir, pod.uid, spec.name),
        env: this.#env,
        clock: this.#clock,
        log: this.#log,
        onChange: () => this.#changed(pod.uid),
      });
      containers.set(spec.name, container);
      added.push(container);
    }
    this.#pods.set(pod.uid, containers);
    for (const container of added) container.start();
  }

  async stop(uid: string, options: { graceMs: number }): Promise<void> {
    const containers = this.#pods.get(uid);
    if (containers === undefined) return;
    await Promise.all([...containers.values()].map((container) => container.stop(options.graceMs)));
    if (this.#pods.get(uid) !== containers) return;
    this.#pods.delete(uid);
    try {
      rmSync(join(this.#rootDir, uid), { recursive: true, force: true, maxRetries: 3 });
    } catch (error) {
      this.#log.warn({ pod: uid, reason: describeError(error) }, "a pod's folder could not be removed");
    }
  }

  statuses(uid: string): readonly ContainerStatus[] {
    return [...(this.#pods.get(uid)?.values() ?? [])].map((container) => container.status());
  }

  onChange(listener: (uid: string) => void): void {
    this.#listeners.push(listener);
  }

  openLog(uid: string, container: string, options: LogOptions, signal: AbortSignal): Readable {
    return this.#container(uid, container).openLog(options, signal);
  }

  upgrade(upgrade: PodUpgrade): void {
    try {
      this.#upgrade(upgrade);
    } catch (error) {
      refuseUpgrade(upgrade.socket, error);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#pods.keys()].map((uid) => this.stop(uid, { graceMs: 0 })));
    for (const socket of this.#sockets) socket.terminate();
  }

  #upgrade(upgrade: PodUpgrade): void {
    if (upgrade.subresource === 'portforward') this.#forwardPorts(upgrade);
    else this.#joinContainer(upgrade);
  }

  #joinContainer(upgrade: PodUpgrade): void {
    const container = this.#container(upgrade.podUid, upgrade.container ?? '');
    const options = parseStreamOptions(upgrade.query);
    if (upgrade.subresource === 'exec' && options.command.length === 0) {
      throw new Refusal(400, 'BadRequest', 'you must specify at least 1 command to execute');
    }
    if (container.workload === undefined) {
      const { name } = container.spec;
      throw new Refusal(500, 'InternalError', `unable to upgrade connection: container not found ("${name}")`);
    }
    const offered = offeredProtocols(upgrade.request);
    const protocol = chooseRemoteProtocol(offered.length > 0 ? offered : ['channel.k8s.io']);
    if (protocol === undefined) throw unservedProtocol(REMOTE_PROTOCOLS.map(({ name }) => name));
    this.#accept(upgrade, offered.length > 0 ? protocol.name : undefined, (socket) => {
      const channels = new ChannelSocket(socket, protocol);
      if (upgrade.subresource === 'attach') serveAttach(container, channels, options);
      else void serveExec(container, channels, options);
    });
  }

  #forwardPorts(upgrade: PodUpgrade): void {
    const containers = this.#containers(upgrade.podUid);
    const running = [...containers.values()].some((container) => container.workload !== undefined);
    if (!running) throw new Refusal(400, 'BadRequest', 'unable to forward port because pod is not running');
    const network: PodNetwork = {
      sandboxId: sandboxIdOf(upgrade.podUid),
      hostPort: (port) => {
        if (this.#pods.get(upgrade.podUid) !== containers) return undefined;
        const mapped = [...containers.values()].map((container) => container.workload?.ports.get(port));
        // Programs of containers with a command run on the host: their ports are the host's.
        return mapped.find((hostPort) => hostPort !== undefined) ?? port;
      },
    };
    const offered = offeredProtocols(upgrade.request);
    const name = offered.find((offer) => offer === PORT_FORWARD_TUNNEL || PORT_CHANNEL_PROTOCOLS.includes(offer));
    if (name === PORT_FORWARD_TUNNEL) {
      this.#accept(upgrade, name, (socket) => servePortForward({ socket, network, clock: this.#clock }));
      return;
    }
    const protocol = chooseRemoteProtocol(name === undefined ? [] : [name]);
    if (protocol === undefined) throw unservedProtocol([PORT_FORWARD_TUNNEL, ...PORT_CHANNEL_PROTOCOLS]);
    const ports = parseForwardedPorts(upgrade.query);
    this.#accept(upgrade, protocol.name, (socket) => {
      servePortChannels(new ChannelSocket(socket, protocol), network, ports);
    });
  }

  #accept(upgrade: PodUpgrade, protocol: string | undefined, onOpen: (socket: WebSocket) => void): void {
    acceptWebSocket(upgrade, protocol, (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      onOpen(socket);
    });
  }

  #containers(uid: string): Map<string, Container> {
    const containers = this.#pods.get(uid);
    if (containers === undefined) throw notFound(`pod ${uid} does not run here`);
    return containers;
  }

  #container(uid: string, name: string): Container {
    const container = this.#containers(uid).get(name);
    if (container === undefined) {
      throw new Refusal(
        400,
        'BadRequest',
        `container ${name} is not valid for this pod, which has ${[...this.#containers(uid).keys()].join(', ')}`,
      );
    }
    return container;
  }

  #changed(uid: string): void {
    if (!this.#pods.has(uid)) return;
    for (const listener of this.#listeners) listener(uid);
  }
}

function unservedProtocol(names: readonly string[]): Refusal {
  const list = names.join(', ');
  return new Refusal(403, 'Forbidden', `none of the offered WebSocket subprotocols is served; offer one of ${list}`);
}

function notFound(message: string): CodedError {
  return new CodedError({ code: 'emulator-not-found', message, answer: { status: 404, reason: 'NotFound' } });
}
