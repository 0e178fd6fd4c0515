import { CodedError } from '../base/errors.js';
import { shortId } from '../base/short-id.js';
import { statusOfError } from '../kubernetes/status.js';
import { answerRequest, answerUpgrade, ownAnswer } from '../relays/failure-answer.js';
import type { Listener, ListenerHandlers } from './listener.js';

interface Slot {
  readonly port: number;
  readonly fd: number;
  /** Undefined: nothing is served there now. */
  handlers: ListenerHandlers | undefined;
  listener: Promise<Listener> | undefined;
}

/**
 * Listening sockets that a service manager holds over our restarts. They stay open when we close them, and clients would
 * wait at them for ever: so each is listened on until the end of the process, whether anything is behind it or not.
 */
export class InheritedListeners {
  readonly #slots: ReadonlyMap<number, Slot>;
  readonly #open: (slot: { port: number; fd: number }, handlers: ListenerHandlers) => Promise<Listener>;

  constructor(o: {
    sockets: readonly { readonly port: number; readonly fd: number }[];
    open: (slot: { port: number; fd: number }, handlers: ListenerHandlers) => Promise<Listener>;
  }) {
    this.#slots = new Map(
      o.sockets.map(({ port, fd }) => [port, { port, fd, handlers: undefined, listener: undefined }]),
    );
    this.#open = o.open;
  }

  /** Undefined where the port is not among them, or is in use already. */
  async listen(port: number, handlers: ListenerHandlers): Promise<Listener | undefined> {
    const slot = this.#slots.get(port);
    if (slot === undefined || slot.handlers !== undefined) return undefined;
    slot.handlers = handlers;
    const listener = await this.#listener(slot);
    return {
      ...listener,
      inherited: true,
      retire: async () => {
        slot.handlers = undefined;
      },
    };
  }

  /** Listens on those that nobody has asked for, to say so to whoever connects. */
  async openRest(): Promise<void> {
    await Promise.all([...this.#slots.values()].map((slot) => this.#listener(slot)));
  }

  /** Those behind which nothing is served: nobody else closes them. */
  async idle(): Promise<Listener[]> {
    const idle = [...this.#slots.values()].filter(({ handlers }) => handlers === undefined);
    const listeners = await Promise.all(idle.map(({ listener }) => listener));
    return listeners.filter((listener) => listener !== undefined);
  }

  #listener(slot: Slot): Promise<Listener> {
    slot.listener ??= this.#open(slot, {
      request: (request, response, askForBody) => {
        if (slot.handlers !== undefined) slot.handlers.request(request, response, askForBody);
        else answerRequest(response, nothingServed(slot.port), shortId());
      },
      upgrade: (request, socket, head) => {
        if (slot.handlers !== undefined) slot.handlers.upgrade(request, socket, head);
        else answerUpgrade(socket, nothingServed(slot.port), shortId());
      },
    });
    return slot.listener;
  }
}

function nothingServed(port: number): ReturnType<typeof ownAnswer> {
  const error = new CodedError({
    code: 'membership-gone',
    message: `connect-gateway-proxy: no membership is served on port ${port}, which is held for the next one (connect-gateway-proxy memberships lists all)`,
    answer: { status: 404, reason: 'NotFound' },
  });
  return ownAnswer(statusOfError(error), { kind: 'other' });
}
