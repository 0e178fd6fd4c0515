import type { FlatHeaders } from '../base/flat-headers.js';
import type { Status } from '../kubernetes/status.js';
import type { ClusterAnswer } from './ask-cluster.js';

/** How a body that the gateway cuts is carried on. One object lives as long as the client's request. */
export interface Continuation {
  /** What to ask upstream for at first: below the membership, raw. */
  readonly firstTarget: string;
  /** Whether the answer can be read and so be continued; otherwise it passes as any other. */
  begin(headers: FlatHeaders, now: number): boolean;
  /**
   * When the cluster refuses to go on: a watch may simply end, because its client asks again; a log that ends would look
   * complete, so its body is broken.
   */
  readonly whenRefused: 'end' | 'break';
  /** What the client is told within the body before it ends because Google refuses to go on; undefined where no body can tell. */
  lastWords(status: Status): Buffer | undefined;
  /**
   * Answers what the client shall have. Throws on a body that is not what its type says. The chunk is lent for the call, and
   * so is what is answered, which may stand in it.
   */
  push(chunk: Buffer): readonly Buffer[];
  /** In ms, 0 for none: an answer to a resume that does not come by then is a cut like any other. */
  readonly headDeadlineMs: number;
  /** The client has all that it asked for: upstream need not go on. */
  readonly finished: boolean;
  /** Something may have been lost in a gap. */
  readonly mayHaveMissed: boolean;
  /** What to do after an end. `ask` GETs one object. */
  next(ask: (target: string) => Promise<ClusterAnswer>, end: BodyEnd): Promise<NextStep>;
}

export interface BodyEnd {
  /** Monotonic, in ms. */
  readonly now: number;
  /** The body was whole by its own framing, which a cut may leave so. */
  readonly clean: boolean;
}

export type NextStep =
  | { readonly kind: 'resume'; readonly target: string }
  /** The stream is over for the client as well, after these bytes. */
  | { readonly kind: 'end'; readonly rest?: readonly Buffer[] }
  /** It cannot go on, and an end would look like its own. */
  | { readonly kind: 'break' };
