import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable } from 'node:stream';

/** The part of v1.Container that the emulator acts on. */
export interface ContainerSpec {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly workingDir?: string;
  readonly stdin?: boolean;
  readonly stdinOnce?: boolean;
  readonly tty?: boolean;
  readonly ports?: readonly { readonly containerPort: number; readonly name?: string }[];
}

export interface PodSpec {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly restartPolicy: 'Always' | 'OnFailure' | 'Never';
  readonly containers: readonly ContainerSpec[];
}

/** Times are ms since the epoch. */
export type ContainerState =
  | { readonly kind: 'waiting'; readonly reason: string }
  | { readonly kind: 'running'; readonly startedAt: number }
  | { readonly kind: 'terminated'; readonly exitCode: number; readonly startedAt: number; readonly finishedAt: number };

export interface ContainerStatus {
  readonly name: string;
  readonly state: ContainerState;
  readonly lastTermination?: ContainerState;
  readonly restartCount: number;
}

/** v1.PodLogOptions after parsing. */
export interface LogOptions {
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  /** ms since the epoch, already cut to whole seconds as the kubelet does. */
  readonly sinceTime?: number;
  readonly tailLines?: number;
  readonly limitBytes?: number;
}

export interface PodUpgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly podUid: string;
  readonly subresource: 'exec' | 'attach' | 'portforward';
  /** Already resolved: the named container, or the pod's only or default one. Absent for portforward. */
  readonly container?: string;
  readonly query: URLSearchParams;
  readonly signal: AbortSignal;
}

/** Pods as real local processes. One runtime serves one built-in cluster. */
export interface PodRuntime {
  /** Starts a pod; of one that runs, the containers that it does not have yet. */
  start(pod: PodSpec): void;
  /** Ends the pod's processes (TERM, then KILL after the grace period); resolves when all are gone. Unknown uid: resolves. */
  stop(uid: string, options: { graceMs: number }): Promise<void>;
  statuses(uid: string): readonly ContainerStatus[];
  /** Called after every change of a container's state. */
  onChange(listener: (uid: string) => void): void;
  openLog(uid: string, container: string, options: LogOptions, signal: AbortSignal): Readable;
  /** Serves exec, attach (v5, v4 and the older channel protocols) and port-forward (SPDY/3.1 tunnel) over WebSocket. */
  upgrade(upgrade: PodUpgrade): void;
  close(): Promise<void>;
}
