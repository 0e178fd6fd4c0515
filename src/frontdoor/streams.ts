import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { describeError } from '../base/errors.js';
import { headerTokens, headerValue } from '../base/flat-headers.js';
import { type Logger, withFields } from '../base/log.js';
import { parseApiRequest } from '../kubernetes/api-request.js';
import { relayPortForward } from '../relays/relay-port-forward.js';
import { relayRemoteCommand } from '../relays/relay-remote-command.js';
import { relayUpgrade, type UpgradeCall } from '../relays/relay-upgrade.js';
import type { RelayTools, ServedMembership } from '../relays/served-membership.js';

export interface InboundUpgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  /** The URL has proven who asks. */
  readonly proven?: true;
}

type Relay = (tools: RelayTools, call: UpgradeCall) => Promise<void>;

/** The upgraded connections that are under way. */
export class Streams {
  readonly #o: { readonly tools: RelayTools; readonly log: Logger; readonly stopping: AbortSignal };
  readonly #open = new Set<Promise<void>>();

  /** `stopping`: ends them all. */
  constructor(options: { tools: RelayTools; log: Logger; stopping: AbortSignal }) {
    this.#o = options;
  }

  /** Resolves when those that are open now have ended. */
  async over(): Promise<void> {
    await Promise.all(this.#open);
  }

  begin(
    about: Pick<UpgradeCall, 'id' | 'served' | 'target' | 'onRefusal'>,
    { request, socket, head }: InboundUpgrade,
    chosen?: Relay,
  ): void {
    const { id, served, target } = about;
    const { tools, log, stopping } = this.#o;
    const session = tools.sessions.open({
      id,
      api: parseApiRequest(target),
      membership: served.membership.alias,
      identity: served.membership.identity,
      userAgent: headerValue(request.rawHeaders, 'user-agent') ?? '',
      bytes: () => transferred(socket),
    });
    const call: UpgradeCall = {
      ...{ ...about, session, request, socket, head },
      log: callLog(log, id, served),
      signal: AbortSignal.any([stopping, session.signal]),
    };
    const relay = chosen ?? chooseRelay(call);
    const stream = relay(tools, call).catch((error: unknown) => {
      log.error({ id }, `upgrade relay: ${describeError(error)}`);
      socket.destroy();
    });
    this.#open.add(stream);
    void stream.finally(() => {
      session.end('ended');
      this.#open.delete(stream);
    });
  }
}

export function callLog(log: Logger, id: string, { membership }: ServedMembership): Logger {
  return withFields(log, { id, membership: membership.alias });
}

/** The relay for an upgrade: by what it asks for and by the protocol it names. */
function chooseRelay(call: UpgradeCall): Relay {
  const understood = headerTokens(call.request.rawHeaders, 'upgrade').some((token) =>
    ['websocket', 'spdy/3.1'].includes(token.toLowerCase()),
  );
  const { kind } = parseApiRequest(call.target);
  if (kind === 'port-forward') return relayPortForward;
  if (understood && (kind === 'exec' || kind === 'attach')) return relayRemoteCommand;
  return relayUpgrade;
}

/** By the client's own connection, TLS and framing not counted. */
function transferred(socket: Duplex): { up: number; down: number } {
  const { bytesRead = 0, bytesWritten = 0 } = socket as Partial<{ bytesRead: number; bytesWritten: number }>;
  return { up: bytesRead, down: bytesWritten };
}
