import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** Who the gateway says is calling. Impersonation headers, if any, are still on the request. */
export interface Caller {
  readonly user: string;
  readonly groups: readonly string[];
}

export interface CallContext {
  /** The request target as the cluster's API server sees it: the gateway's prefix removed, otherwise byte for byte. */
  readonly target: string;
  readonly caller: Caller;
  /** Aborts when the client is gone or a fault cuts the call. */
  readonly signal: AbortSignal;
}

/** A Kubernetes API behind the emulated gateway: a built-in cluster, or a real one by kubeconfig. */
export interface ClusterBackend {
  /** Shown as kubernetesMetadata.kubernetesApiServerVersion, e.g. `v1.36.2`. */
  readonly version: string;
  handle(request: IncomingMessage, response: ServerResponse, context: CallContext): void;
  /** WebSocket upgrades only: the gateway has refused everything else. The backend answers 101 or a refusal itself. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, context: CallContext): void;
  close(): Promise<void>;
}
