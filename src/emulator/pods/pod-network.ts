import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { describeError } from '../../base/errors.js';

/** Where a pod's ports lead; asked for each connection, because containers restart on other ports. */
export interface PodNetwork {
  /** The loopback port behind a port of the pod, or undefined when the pod is gone. */
  hostPort(port: number): number | undefined;
  /** Stands for the pod's sandbox in error texts. */
  readonly sandboxId: string;
}

export function sandboxIdOf(podUid: string): string {
  return createHash('sha256').update(podUid).digest('hex');
}

/** A port as the wire tells it, or undefined. */
export function parsePort(text: string | null | undefined): number | undefined {
  if (text === null || text === undefined || !/^\d{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : undefined;
}

export interface PodConnectionEvents {
  /** The socket may be written to before. */
  onConnect?(): void;
  /** No connection came about; `message` is what a kubelet with containerd says. */
  onRefused(message: string): void;
  /** The connection was lost after it came about. */
  onBroken(): void;
}

/** Connects to a port of the pod. The caller reads and writes the socket, which stays half-open as each side ends it. */
export function connectToPod(network: PodNetwork, port: number, events: PodConnectionEvents): Socket | undefined {
  const { sandboxId } = network;
  const prefix = `error forwarding port ${port} to pod ${sandboxId}, uid : `;
  const hostPort = network.hostPort(port);
  if (hostPort === undefined) {
    events.onRefused(`${prefix}failed to find sandbox "${sandboxId}" in store: not found`);
    return undefined;
  }
  const socket = connect({ host: '127.0.0.1', port: hostPort, allowHalfOpen: true, noDelay: true });
  let connected = false;
  socket.once('connect', () => {
    connected = true;
    events.onConnect?.();
  });
  socket.once('error', (error: NodeJS.ErrnoException) => {
    if (connected) return events.onBroken();
    const why = error.code === 'ECONNREFUSED' ? 'connection refused' : describeError(error);
    events.onRefused(
      `${prefix}failed to execute portforward in network namespace "/var/run/netns/cni-${sandboxId.slice(0, 8)}": ` +
        `failed to connect to localhost:${port} inside namespace "${sandboxId}", ` +
        `IPv4: dial tcp4 127.0.0.1:${port}: connect: ${why} IPv6 dial tcp6: address localhost: no suitable address found `,
    );
  });
  return socket;
}
