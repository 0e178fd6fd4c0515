import type { Clock } from '../../base/clock.js';
import { describeError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { Lane, type StreamPair } from './lane.js';
import type { TunnelPair } from './pod-tunnel.js';
import type { TunnelLease } from './shared-tunnel.js';

/** For the kubelet's last word on the error stream once the data stream is over. */
const ERROR_GRACE_MS = 10_000;

export interface ConnectionOptions {
  /** Accepted, and not consumed yet. */
  readonly local: StreamPair;
  readonly port: number;
  readonly lease: TunnelLease;
  readonly clock: Clock;
  readonly log: Logger;
  /** Once, when nothing of it is left upstream. */
  readonly onOver: () => void;
}

/**
 * One connection of one client, on one upstream tunnel for its whole life. When that tunnel is cut, or none is to be had,
 * its data stream is reset and its error stream ends empty: bytes there, or a reset, would make kubectl quit.
 */
export class ForwardedConnection {
  readonly #o: ConnectionOptions;
  /** From the client. */
  readonly #up: Lane;
  readonly #leave = new AbortController();
  #remote: TunnelPair | undefined;
  #down: Lane | undefined;
  #errors: Lane | undefined;
  /** The pod's side may have got something of it. */
  #begun = false;
  #cancelGrace: (() => void) | undefined;
  #over = false;

  constructor(options: ConnectionOptions) {
    this.#o = options;
    const { data, error } = options.local;
    this.#up = new Lane({ source: data });
    data.consume({
      onData: (chunk) => this.#up.push(chunk),
      onEnd: () => this.#up.end(),
      onReset: (status) => this.#localReset(status),
      onDrain: () => this.#down?.sinkDrained(),
    });
    // The client has nothing to say here; kubectl half-closes it at once.
    error.consume({
      onData: () => true,
      onEnd() {},
      onReset: () => this.#errors?.drop(),
      onDrain: () => this.#errors?.sinkDrained(),
    });
    if (!this.#leave.signal.aborted) void this.#open();
  }

  async #open(): Promise<void> {
    const { lease, port, log } = this.#o;
    try {
      const remote = await lease.open(port, this.#leave.signal);
      if (this.#leave.signal.aborted) {
        remote.reset();
        remote.release();
        return;
      }
      this.#join(remote);
    } catch (error) {
      if (!this.#leave.signal.aborted) log.info({ port }, `a forwarded connection is reset: ${describeError(error)}`);
      this.#resetLocal();
      this.#end();
    }
  }

  #join(remote: TunnelPair): void {
    const { local, log, port } = this.#o;
    this.#remote = remote;
    const down = new Lane({ source: remote.data, onBlocked: (blocked) => remote.blocked(blocked) });
    const errors = new Lane({ source: remote.error });
    this.#down = down;
    this.#errors = errors;
    down.attach(local.data);
    errors.attach(local.error);
    remote.onGiveUp(() => {
      log.warn({ port }, 'a forwarded connection is reset: its client has not read for too long on a shared tunnel');
      this.#resetLocal();
      remote.reset();
      this.#end();
    });
    remote.error.consume({
      onData: (chunk) => errors.push(chunk),
      onEnd: () => {
        errors.end();
        this.#check();
      },
      onReset: (status) => {
        if (status !== undefined) this.#errorReset(status);
        else if (this.#begun) local.error.end();
        this.#check();
      },
      // Go's side drops what comes before its reply.
      onReply: () => remote.error.end(),
    });
    remote.data.consume({
      onData: (chunk) => down.push(chunk),
      onEnd: () => {
        down.end();
        this.#check();
      },
      onReset: (status) => {
        if (status === undefined && !this.#begun) this.#openAgain(remote);
        else this.#remoteReset(status);
      },
      onDrain: () => this.#up.sinkDrained(),
      onReply: () => {
        this.#begun = true;
        this.#up.attach(remote.data);
        this.#up.whenFlushed(() => this.#check());
      },
    });
  }

  /** Cut before the pod's side had answered: nothing was sent to it, so another tunnel does as well. */
  #openAgain(remote: TunnelPair): void {
    this.#remote = undefined;
    this.#down = undefined;
    this.#errors = undefined;
    remote.release();
    void this.#open();
  }

  /** As a kubelet does after its message. */
  #errorReset(status: number): void {
    if (this.#errors?.idle === false) this.#errors.end();
    else this.#o.local.error.reset(status);
  }

  #remoteReset(status: number | undefined): void {
    const { local } = this.#o;
    const down = this.#down;
    this.#up.drop();
    if (status === undefined) {
      local.error.end();
      // The pod had said all before the cut: the client shall have it.
      if (down?.ended) down.whenFlushed(() => local.data.reset());
      else this.#resetLocal();
    } else {
      down?.drop();
      local.data.reset(status);
    }
    this.#check();
  }

  /** The client wants no more of it, or is gone (undefined). */
  #localReset(status: number | undefined): void {
    this.#up.drop();
    this.#down?.drop();
    if (status === undefined) this.#errors?.drop();
    const remote = this.#remote;
    if (remote === undefined) {
      this.#leave.abort(new Error('the client has closed the connection'));
      return;
    }
    if (status === undefined) remote.reset();
    else remote.data.reset(status);
    this.#check();
  }

  #resetLocal(): void {
    const { data, error } = this.#o.local;
    this.#up.drop();
    this.#down?.drop();
    data.reset();
    error.end();
  }

  /** A stream closes behind the call that tells of its end. */
  #check(): void {
    queueMicrotask(() => {
      const remote = this.#remote;
      if (remote === undefined || this.#over || !remote.data.closed) return;
      if (remote.error.closed) {
        this.#end();
        return;
      }
      this.#cancelGrace ??= this.#o.clock.after(ERROR_GRACE_MS, () => {
        remote.reset();
        this.#o.local.error.end();
        this.#end();
      });
    });
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelGrace?.();
    this.#remote?.release();
    this.#o.onOver();
  }
}
