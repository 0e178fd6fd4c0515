/** A cluster of the fleet as the daemon serves it. */
export interface Membership {
  /** `projects/{number or id}/locations/{l}/memberships/{m}` as gkehub names it: the key everywhere. */
  readonly name: string;
  /** Project number where known. */
  readonly project: string;
  readonly projectId?: string;
  readonly location: string;
  readonly id: string;
  /** What people type and contexts are called; unique in the table. */
  readonly alias: string;
  readonly kind: 'gke' | 'attached' | 'multi-cloud' | 'on-prem' | 'edge' | 'appliance';
  /** gkehub's state code: READY says registered, not reachable. */
  readonly state: string;
  /** Changes when a membership is deleted and made again under the same name. */
  readonly uniqueId?: string;
  readonly kubernetesVersion?: string;
  /** The Kubernetes API root behind the gateway, e.g. `https://connectgateway.googleapis.com/v1/projects/1/locations/global/memberships/m`. */
  readonly endpoint: string;
  /** Where `endpoint` came from. */
  readonly endpointSource: 'config' | 'generateCredentials' | 'formula';
  readonly identity: string;
  readonly policy: 'full' | 'no-exec' | 'read-only';
  /** Asked for by the configuration, or remembered; the daemon allocates one otherwise. */
  readonly port?: number;
  /** True while gkehub could not be asked about it: the last known entry is served. */
  readonly stale: boolean;
}

/** The served memberships now, and word of every change. */
export interface MembershipTable {
  list(): readonly Membership[];
  get(name: string): Membership | undefined;
  /** Called after each change with what is new, changed (by name) and gone. Returns the way to stop listening. */
  onChange(listener: (change: MembershipChange) => void): () => void;
}

export interface MembershipChange {
  readonly added: readonly Membership[];
  readonly changed: readonly Membership[];
  /** Includes memberships whose uniqueId changed: they are also in `added`. */
  readonly removed: readonly Membership[];
}
