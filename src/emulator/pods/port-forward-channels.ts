import type { Socket } from 'node:net';
import type { ChannelSocket } from './channel-socket.js';
import type { PodNetwork } from './pod-network.js';
import { connectToPod, parsePort } from './pod-network.js';
import { Refusal } from './upgrade-socket.js';

/** Channel numbers of data and error take one byte, and base64 forms one digit: ten channels. */
const MAX_PORTS = 5;

/** The `ports` of the query, repeated or separated by commas. Throws a Refusal (400). */
export function parseForwardedPorts(query: URLSearchParams): number[] {
  const texts = query.getAll('ports').flatMap((value) => value.split(','));
  const ports = texts.flatMap((text) => parsePort(text.trim()) ?? []);
  if (ports.length === 0 || ports.length !== texts.length || ports.length > MAX_PORTS) {
    throw new Refusal(400, 'BadRequest', `query parameter "ports" must name one to ${MAX_PORTS} ports from 1 to 65535`);
  }
  return ports;
}

/**
 * The old WebSocket port-forward: one connection a port, on channels 2i (data) and 2i+1 (error), each opened by a message
 * that holds the port in two bytes, little endian. Close 1000 when the pod's side of all has ended.
 */
export function servePortChannels(channels: ChannelSocket, network: PodNetwork, ports: readonly number[]): void {
  let open = ports.length;
  const sockets: (Socket | undefined)[] = [];
  for (const [index, port] of ports.entries()) {
    const opening = Buffer.alloc(2);
    opening.writeUInt16LE(port);
    channels.send(2 * index, opening);
    channels.send(2 * index + 1, opening);
  }
  const ended = (): void => {
    if (--open === 0) channels.close(1000);
  };
  for (const [index, port] of ports.entries()) {
    const socket = connectToPod(network, port, {
      onRefused: (message) => void channels.send(2 * index + 1, Buffer.from(message)),
      onBroken() {},
    });
    sockets.push(socket);
    if (socket === undefined) {
      ended();
      continue;
    }
    socket.on('data', (chunk) => {
      if (!channels.send(2 * index, chunk)) for (const each of sockets) each?.pause();
    });
    socket.on('drain', () => channels.resume());
    socket.on('end', () => socket.end());
    socket.once('close', () => {
      channels.resume();
      ended();
    });
  }
  channels.onMessage((channel, payload) => {
    // Error channels are ours to write to; half-close does not exist in this form.
    const socket = channel % 2 === 0 ? sockets[channel / 2] : undefined;
    if (socket !== undefined && payload.length > 0 && !socket.destroyed && !socket.write(payload)) channels.pause();
  });
  channels.onDrain(() => {
    for (const socket of sockets) socket?.resume();
  });
  channels.onGone(() => {
    for (const socket of sockets) socket?.destroy();
  });
}
