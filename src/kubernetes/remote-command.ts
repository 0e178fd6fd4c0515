import { CodedError } from '../base/errors.js';
import type { Status, StatusDetails } from './status.js';

/** The first byte (or, in base64 protocols, the first digit) of every message of an exec or attach WebSocket. */
export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

/** Carries the bytes of one SPDY/3.1 connection in binary messages. Not a token, so `ws` refuses to see it. */
export const PORT_FORWARD_TUNNEL = 'SPDY/3.1+portforward.k8s.io';

/** What one WebSocket subprotocol of exec, attach or the old port-forward can say. */
export interface RemoteProtocol {
  readonly name: string;
  /** Messages are text: a channel digit, then base64. */
  readonly base64: boolean;
  /** The error channel carries a Status as JSON; otherwise plain text, and nothing on success. */
  readonly statusAsJson: boolean;
  /** A client may end its stdin alone, by a message on the close channel. */
  readonly halfClose: boolean;
  /** The exit message names the code as the newest servers do. */
  readonly shortExitMessage: boolean;
}

const V5: RemoteProtocol = {
  name: 'v5.channel.k8s.io',
  base64: false,
  statusAsJson: true,
  halfClose: true,
  shortExitMessage: true,
};
const V4: RemoteProtocol = { ...V5, name: 'v4.channel.k8s.io', halfClose: false, shortExitMessage: false };
const PLAIN: RemoteProtocol = { ...V4, name: 'channel.k8s.io', statusAsJson: false };

/** Newest first. */
export const REMOTE_PROTOCOLS: readonly RemoteProtocol[] = [
  V5,
  V4,
  { ...V4, name: 'v4.base64.channel.k8s.io', base64: true },
  { ...PLAIN, name: 'v3.channel.k8s.io' },
  { ...PLAIN, name: 'v2.channel.k8s.io' },
  PLAIN,
  { ...PLAIN, name: 'base64.channel.k8s.io', base64: true },
];

/** The first of the client's offers that is known, as a real server chooses. */
export function chooseRemoteProtocol(offered: Iterable<string>): RemoteProtocol | undefined {
  for (const name of offered) {
    const protocol = REMOTE_PROTOCOLS.find((known) => known.name === name);
    if (protocol !== undefined) return protocol;
  }
  return undefined;
}

export interface ChannelMessage {
  readonly channel: number;
  readonly payload: Buffer;
}

/** One WebSocket message: bytes for binary protocols, text for base64 ones. */
export function joinChannelMessage(protocol: RemoteProtocol, channel: number, payload: Uint8Array): Buffer | string {
  if (protocol.base64) return `${channel}${Buffer.from(payload).toString('base64')}`;
  const message = Buffer.allocUnsafe(1 + payload.length);
  message[0] = channel;
  message.set(payload, 1);
  return message;
}

/** The payload is a view of `message`, not a copy, in binary protocols. */
export function splitChannelMessage(protocol: RemoteProtocol, message: Buffer): ChannelMessage {
  const first = message[0];
  if (first === undefined) throw badMessage('has no channel byte');
  if (!protocol.base64) return { channel: first, payload: message.subarray(1) };
  const channel = first - 0x30;
  if (channel < 0 || channel > 9) throw badMessage('does not start with a channel digit');
  const text = message.toString('latin1', 1);
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw badMessage('is not base64 after its channel digit');
  return { channel, payload: Buffer.from(text, 'base64') };
}

/** A message of any protocol as the binary ones have it: a channel byte, then the payload. Binary ones are not copied. */
export function toBinaryMessage(protocol: RemoteProtocol, message: Buffer): Buffer {
  if (!protocol.base64) return message;
  const { channel, payload } = splitChannelMessage(protocol, message);
  return channelMessage(channel, payload);
}

/** The other way round; `message` has at least its channel byte. */
export function fromBinaryMessage(protocol: RemoteProtocol, message: Buffer): Buffer | string {
  if (!protocol.base64) return message;
  return joinChannelMessage(protocol, message[0] ?? 0, message.subarray(1));
}

/** In the binary protocols. */
export function channelMessage(channel: number, payload: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(channel), payload]);
}

/** `ff 00` is the end of stdin: the close channel, then the channel that ends. */
export function closeMessage(channel: number): Buffer {
  return Buffer.of(CHANNEL.close, channel);
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** The JSON line that kubectl sends on the resize channel. */
export function formatResize(size: TerminalSize): Buffer {
  return Buffer.from(`{"Width":${size.columns},"Height":${size.rows}}\n`);
}

/** A terminal's size fits 16 bits; anything else is undefined, as is what is not the JSON of a size. */
export function parseResize(payload: Uint8Array): TerminalSize | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { Width: columns, Height: rows } = value as Record<string, unknown>;
  return isDimension(columns) && isDimension(rows) ? { columns, rows } : undefined;
}

function isDimension(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffff;
}

/** A Status as the error channel carries it: real servers leave out `kind` and `apiVersion` there. */
export type RemoteStatus = Omit<Status, 'kind' | 'apiVersion'>;

/** How a command ended. `command` is only told by the older protocols. */
export function exitStatus(protocol: RemoteProtocol, exitCode: number, command: readonly string[]): RemoteStatus {
  if (exitCode === 0) return { metadata: {}, status: 'Success' };
  const ending = protocol.shortExitMessage
    ? `command terminated with exit code ${exitCode}`
    : `error executing command [${command.join(' ')}], exit code ${exitCode}`;
  return {
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: ${ending}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
  };
}

/** A command that could not be run, or whose session was lost: kubectl prints the message and exits with 1. */
export function internalErrorStatus(message: string): RemoteStatus {
  return {
    metadata: {},
    status: 'Failure',
    message: `Internal error occurred: ${message}`,
    reason: 'InternalError',
    details: { causes: [{ message }] },
    code: 500,
  };
}

/** What goes on the error channel, or undefined where the protocol says success by silence. */
export function formatRemoteStatus(protocol: RemoteProtocol, status: RemoteStatus): Buffer | undefined {
  if (protocol.statusAsJson) return Buffer.from(JSON.stringify(status));
  return status.status === 'Success' ? undefined : Buffer.from(status.message ?? 'unknown error');
}

/**
 * What came on the error channel in one protocol, as another says it. Undefined where that says success by silence; a
 * text is told as the failure that it is.
 */
export function translateRemoteStatus(from: RemoteProtocol, to: RemoteProtocol, payload: Buffer): Buffer | undefined {
  if (from.statusAsJson === to.statusAsJson) return payload;
  const text = payload.toString('utf8');
  if (to.statusAsJson) {
    return formatRemoteStatus(to, {
      metadata: {},
      status: 'Failure',
      message: text,
      reason: 'InternalError',
      code: 500,
    });
  }
  const { status, message } = parseObject(text);
  if (status === 'Success') return undefined;
  return typeof message === 'string' && message !== '' ? Buffer.from(message) : payload;
}

function parseObject(text: string): Partial<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Partial<Record<string, unknown>>) : {};
  } catch {
    return {};
  }
}

/** A message of the error channel whose Status tells not how the command ended but that it could not be reached. */
export function tellsOfTrouble(message: Buffer): boolean {
  return !/"status":\s*"Success"|"reason":\s*"NonZeroExitCode"/.test(message.toString('utf8', 1));
}

export interface RemoteResult {
  /** What kubectl exits with. */
  readonly exitCode: number;
  readonly message?: string;
}

/**
 * Reads the error channel's payload as kubectl does: Success is 0; NonZeroExitCode with a numeric ExitCode cause is that
 * code; every other failure, and text that is no Status, is 1.
 */
export function parseRemoteStatus(payload: Uint8Array): RemoteResult {
  const text = Buffer.from(payload).toString('utf8');
  let value: Partial<Status> | null;
  try {
    value = JSON.parse(text) as Partial<Status> | null;
  } catch {
    return { exitCode: 1, message: text };
  }
  if (typeof value !== 'object' || value === null) return { exitCode: 1, message: text };
  if (value.status === 'Success') return { exitCode: 0 };
  if (value.status !== 'Failure') return { exitCode: 1, message: text };
  const message = typeof value.message === 'string' ? value.message : undefined;
  const exitCode = value.reason === 'NonZeroExitCode' ? exitCodeOfCauses(value.details) : 1;
  return { exitCode, ...(message === undefined ? {} : { message }) };
}

function exitCodeOfCauses(details: StatusDetails | undefined): number {
  const causes = Array.isArray(details?.causes) ? (details.causes as NonNullable<StatusDetails['causes']>) : [];
  const code = causes.find((cause) => cause?.reason === 'ExitCode')?.message;
  // Exit codes are one byte on every system that runs containers, and 0 would be a success told as a failure.
  const number = typeof code === 'string' && /^\d{1,3}$/.test(code) ? Number(code) : 1;
  return number >= 1 && number <= 255 ? number : 1;
}

function badMessage(what: string): CodedError {
  return new CodedError({
    code: 'remote-command-bad-message',
    message: `A WebSocket message of an exec or attach ${what}; the peer does not speak the channel protocol.`,
    answer: { status: 400, reason: 'BadRequest' },
  });
}
