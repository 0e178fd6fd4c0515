import type { Readable } from 'node:stream';
import type { FlatHeaders } from '../base/flat-headers.js';
import type { UpstreamAddress } from './address.js';
import type { Turn } from './request-pacer.js';

export interface UpstreamRequest {
  readonly address: UpstreamAddress;
  readonly method: string;
  /** Raw request target, the address's path prefix included. */
  readonly target: string;
  readonly headers: FlatHeaders;
  readonly body: RequestBody | null;
  /**
   * How long to wait for the response's head once the request has been sent whole, in ms; 0 waits for ever (watches of
   * a quiet resource).
   */
  readonly headersTimeoutMs: number;
  /** Its answer goes on for long: it may be one stream of a connection that others share. */
  readonly lasting?: boolean;
  /** Its place in the line of its fleet host project; without one it leaves at once. */
  readonly turn?: Turn;
  /** Others who ask the same, as the same principal, may have the same answer: discovery and OpenAPI. */
  readonly shareable?: boolean;
}

/** A request's body. Its length is what Content-Length among the headers says; without one it goes in chunks. */
export interface RequestBody {
  readonly stream: Readable;
  /** What follows a body in chunks; asked for when the stream has ended. */
  readonly trailers?: () => FlatHeaders;
  /**
   * Makes upstream say whether it wants the body (`Expect: 100-continue`): called when it does, or has not said no for
   * a second, and before the stream is touched. Not called where upstream answers instead.
   */
  readonly onWanted?: () => void;
}

/** Where a response goes. Calls come in the order head, data..., end; `failed` may come at any time and is the last. */
export interface ResponseSink {
  /** 1xx other than 100 and 101. */
  information(status: number, headers: FlatHeaders): void;
  head(status: number, statusText: string, headers: FlatHeaders): void;
  /** Answer false to be paused until `resume` is called. */
  data(chunk: Buffer): boolean;
  /** As `data`, of memory that is the caller's again after the call. A sink that knows it not gets a copy. */
  lend?(chunk: Buffer): boolean;
  end(trailers: FlatHeaders): void;
  failed(error: unknown): void;
}

export interface UpstreamCall {
  resume(): void;
  /** The sink is told nothing more. */
  abort(): void;
  /** Gives the connection up as dead: the sink is told `failed`. */
  lose(): void;
}
