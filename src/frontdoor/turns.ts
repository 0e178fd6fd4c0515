import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

interface Turn {
  readonly response: ServerResponse;
  begun: boolean;
  /** The one that this waits for. */
  previous: Turn | undefined;
}

/**
 * The requests of a connection, one after the other: a client that sends the next before it has its answer (pipelining)
 * has it carried out after the first and not beside it, as RFC 9112 9.3.2 wants it for anything but reads.
 */
export class Turns {
  /**
   * The last answer of each connection that is open, where it is not over. No entry comes and goes with a request: see
   * docs/decisions.md, 18.
   */
  readonly #last = new Map<Duplex, Turn | 'over'>();

  /** Whether an answer is whole whose client has yet to read the rest of it. */
  get isSending(): boolean {
    for (const last of this.#last.values()) {
      let turn = last === 'over' ? undefined : last;
      while (turn?.begun === false) turn = turn.previous;
      if (turn?.response.writableEnded === true && !turn.response.writableFinished) return true;
    }
    return false;
  }

  /** Calls `begin` when the answer's turn has come; never for a client that has left. */
  take(response: ServerResponse, begin: () => void): void {
    const { socket } = response.req;
    if (!this.#last.has(socket)) {
      if (socket.closed) return;
      socket.once('close', () => this.#last.delete(socket));
    }
    const previous = this.#unfinished(socket);
    const turn: Turn = { response, begun: false, previous };
    this.#last.set(socket, turn);
    response.on('close', () => {
      if (this.#last.get(socket) === turn) this.#last.set(socket, 'over');
    });
    after(previous, socket, () => {
      turn.begun = true;
      turn.previous = undefined;
      begin();
    });
  }

  afterPrevious(socket: Duplex, begin: () => void): void {
    after(this.#unfinished(socket), socket, begin);
  }

  /**
   * The answer that what is said on the connection now would be, where nothing is said yet; `busy` where it would stand
   * in the midst of another, or be taken for it.
   */
  unsaid(socket: Duplex): ServerResponse | 'busy' | undefined {
    const last = this.#unfinished(socket);
    if (last === undefined) return undefined;
    return last.begun && !last.response.headersSent ? last.response : 'busy';
  }

  #unfinished(socket: Duplex): Turn | undefined {
    const last = this.#last.get(socket);
    return last === 'over' ? undefined : last;
  }
}

function after(previous: Turn | undefined, socket: Duplex, begin: () => void): void {
  if (previous === undefined) {
    begin();
    return;
  }
  previous.response.once('close', () => {
    if (!socket.destroyed && !socket.writableEnded) begin();
  });
}
