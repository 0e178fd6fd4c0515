import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * The requests of a connection, one after the other: a client that sends the next before it has its answer (pipelining)
 * has it carried out after the first and not beside it, as RFC 9112 9.3.2 wants it for anything but reads.
 */
export class Turns {
  /** The last answer of each connection that is not over. */
  readonly #last = new WeakMap<Duplex, { readonly response: ServerResponse; begun: boolean }>();
  /** Those whose turn has come. */
  readonly #answers = new Set<ServerResponse>();

  /** Whether an answer is whole whose client has yet to read the rest of it. */
  get isSending(): boolean {
    return [...this.#answers].some((response) => response.writableEnded && !response.writableFinished);
  }

  /** Calls `begin` when the answer's turn has come; never for a client that has left. */
  take(response: ServerResponse, begin: () => void): void {
    const { socket } = response.req;
    const turn = { response, begun: false };
    const previous = this.#last.get(socket);
    this.#last.set(socket, turn);
    response.on('close', () => {
      if (this.#last.get(socket) === turn) this.#last.delete(socket);
      this.#answers.delete(response);
    });
    after(previous?.response, socket, () => {
      turn.begun = true;
      this.#answers.add(response);
      begin();
    });
  }

  afterPrevious(socket: Duplex, begin: () => void): void {
    after(this.#last.get(socket)?.response, socket, begin);
  }

  /**
   * The answer that what is said on the connection now would be, where nothing is said yet; `busy` where it would stand
   * in the midst of another, or be taken for it.
   */
  unsaid(socket: Duplex): ServerResponse | 'busy' | undefined {
    const last = this.#last.get(socket);
    if (last === undefined) return undefined;
    return last.begun && !last.response.headersSent ? last.response : 'busy';
  }
}

function after(previous: ServerResponse | undefined, socket: Duplex, begin: () => void): void {
  if (previous === undefined) {
    begin();
    return;
  }
  previous.once('close', () => {
    if (!socket.destroyed && !socket.writableEnded) begin();
  });
}
