import { CodedError, describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { TokenSource } from '../credentials/token-source.js';
import type { Membership, MembershipChange, MembershipTable } from '../fleet/membership.js';
import type { FrontDoor } from '../frontdoor/front-door.js';
import { type UpstreamAddress, upstreamAddress } from '../gateway/address.js';
import type { ServedMembership } from '../relays/served-membership.js';
import type { PortBook } from './ports.js';

/** A membership as `/-/memberships` and the commands show it. */
export interface MembershipView {
  readonly name: string;
  readonly alias: string;
  readonly project: string;
  readonly projectId?: string;
  readonly location: string;
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly stale: boolean;
  readonly kubernetesVersion?: string;
  /** The membership's own endpoint; absent when its port could not be had. */
  readonly url?: string;
  readonly endpoint: string;
  readonly endpointSource: string;
  readonly identity: string;
  /** Who the identity is, as far as known. */
  readonly principal: string;
  /** Who begins, before any service account is impersonated. */
  readonly account?: string;
  /** The service accounts that are impersonated, the last being the principal. */
  readonly chain: readonly string[];
  /** gcloud's. */
  readonly gcloudConfiguration?: string;
  readonly universe?: string;
  readonly quotaProject?: string;
  readonly policy: string;
  /** `adc`, `gcloud`, `auto: adc`, ...: where its tokens come from, and how they were last got. */
  readonly identitySource?: string;
  /** A token is held that is good as far as known. */
  readonly hasToken: boolean;
  readonly tokenExpiresAt?: number;
  readonly tokenRefreshedAt?: number;
  readonly tokenFailure?: { readonly at: number; readonly code: string; readonly message: string };
  /** Why it is not served as it should be. */
  readonly problem?: string;
}

/** Keeps the front door in step with the fleet: what is new is opened, what is gone is closed. */
export class ServedFleet {
  readonly #o: ServedFleetOptions;
  readonly #problems = new Map<string, string>();
  /** Changes are carried out one after the other. */
  #work: Promise<void> = Promise.resolve();
  #unsubscribe = (): void => {};

  constructor(options: ServedFleetOptions) {
    this.#o = options;
  }

  /** Opens everything that the table holds now, and follows it from here on. */
  async start(): Promise<void> {
    this.#unsubscribe = this.#o.table.onChange((change) => {
      this.#work = this.#work.then(() => this.#carryOut(change));
    });
    this.#work = this.#carryOut({ added: this.#o.table.list(), changed: [], removed: [] });
    await this.#work;
  }

  /** Identities or other settings have changed behind the same memberships: calls from now on use the new ones. */
  async reapply(): Promise<void> {
    this.#work = this.#work.then(() => this.#carryOut({ added: [], changed: this.#o.table.list(), removed: [] }));
    await this.#work;
  }

  /** Resolves when every change so far has been carried out. */
  async settled(): Promise<void> {
    await this.#work;
  }

  stop(): void {
    this.#unsubscribe();
  }

  views(): MembershipView[] {
    return this.#o.table.list().map((membership) => this.#view(membership));
  }

  async #carryOut(change: MembershipChange): Promise<void> {
    for (const { name, alias } of change.removed) {
      this.#o.door.close(name);
      this.#problems.delete(name);
      this.#o.log.info({ membership: alias }, 'membership is gone from the fleet');
    }
    const reopened = change.changed.filter((membership) => !this.#update(membership));
    await Promise.all([...change.added, ...reopened].map((membership) => this.#open(membership)));
    try {
      this.#o.onServed();
    } catch (error) {
      this.#o.log.error({}, describeError(error));
    }
  }

  /** Answers false where it must be opened anew: on another port, or because it is not served so far. */
  #update(membership: Membership): boolean {
    const { door } = this.#o;
    const { name, port } = membership;
    const open = door.portOf(name);
    const moved = port !== undefined && open !== port;
    const served = this.#served(membership);
    if (served !== undefined && open !== undefined && !moved) {
      door.update(served);
      return true;
    }
    // Where it cannot be served as configured: better not at all than with settings that a person has taken back.
    door.close(name);
    return served === undefined;
  }

  async #open(membership: Membership): Promise<void> {
    const served = this.#served(membership);
    if (served === undefined) return;
    try {
      const port = await this.#o.ports.open(membership, (wanted) => this.#o.door.open(served, wanted));
      this.#o.log.debug({ membership: membership.alias, port }, 'serving membership');
      this.#o.warm(served.address);
    } catch (error) {
      // The hub serves it all the same, and the other memberships go on.
      this.#problem(membership, error);
    }
  }

  #served(membership: Membership): ServedMembership | undefined {
    try {
      const tokens = this.#o.identity(membership.identity);
      this.#problems.delete(membership.name);
      return {
        membership,
        address: upstreamAddress(membership.endpoint),
        tokens,
        ...this.#o.chargedTo(membership.identity),
        exec: this.#o.execOf(membership.name),
      };
    } catch (error) {
      this.#problem(membership, error);
      return undefined;
    }
  }

  #problem(membership: Membership, error: unknown): void {
    const problem = describeError(error);
    this.#problems.set(membership.name, problem);
    const code = error instanceof CodedError ? error.code : 'internal';
    this.#o.log.error({ membership: membership.alias, code }, problem);
  }

  #view(membership: Membership): MembershipView {
    const { name, alias, project, projectId, location, id, kind, state, stale, kubernetesVersion } = membership;
    const port = this.#o.door.portOf(name);
    const problem = this.#problems.get(name);
    const tokens = this.#tokens(membership.identity);
    const { account, hasToken = false, expiresAt, lastRefreshAt, lastFailure } = tokens?.snapshot() ?? {};
    const { principal } = tokens ?? {};
    const source = sourceText(this.#o.identitySource(membership.identity), tokens?.origin);
    return {
      ...{ name, alias, project, ...(projectId === undefined ? {} : { projectId }), location, id, kind, state, stale },
      ...(kubernetesVersion === undefined ? {} : { kubernetesVersion }),
      ...(port === undefined ? {} : { url: `https://${bracketed(this.#o.address)}:${port}` }),
      endpoint: membership.endpoint,
      endpointSource: membership.endpointSource,
      identity: membership.identity,
      principal: tokens?.description ?? 'unknown',
      chain: principal?.chain ?? [],
      ...(principal === undefined ? {} : { account: account ?? principal.account, universe: principal.universe }),
      ...(principal?.configuration === undefined ? {} : { gcloudConfiguration: principal.configuration }),
      ...(principal?.quotaProject === undefined ? {} : { quotaProject: principal.quotaProject }),
      hasToken,
      policy: membership.policy,
      ...(source === undefined ? {} : { identitySource: source }),
      ...(expiresAt === undefined ? {} : { tokenExpiresAt: expiresAt }),
      ...(lastRefreshAt === undefined ? {} : { tokenRefreshedAt: lastRefreshAt }),
      ...(lastFailure === undefined ? {} : { tokenFailure: lastFailure }),
      ...(problem === undefined ? {} : { problem }),
    };
  }

  #tokens(identity: string): TokenSource | undefined {
    try {
      return this.#o.identity(identity);
    } catch {
      return undefined;
    }
  }
}

export interface ServedFleetOptions {
  readonly door: FrontDoor;
  readonly ports: PortBook;
  readonly table: MembershipTable;
  /** The tokens of a configured identity. Throws a CodedError for one that cannot work. */
  readonly identity: (name: string) => TokenSource;
  /** What the settings call it. */
  readonly identitySource: (name: string) => string | undefined;
  /** The quota project of an identity that has it charged for the data path. */
  readonly chargedTo: (name: string) => Pick<ServedMembership, 'quotaProject'>;
  /** What `exec.onCutoff` says for a membership. */
  readonly execOf: (name: string) => NonNullable<ServedMembership['exec']>;
  readonly address: string;
  readonly log: Logger;
  /** Called after every change. */
  readonly onServed: () => void;
  /** The first client is to find a connection to its gateway; many memberships have the same. */
  readonly warm: (gateway: UpstreamAddress) => void;
}

/** What is configured, and what it came to where that leaves it open. */
function sourceText(configured: string | undefined, origin: string | undefined): string | undefined {
  if (configured === undefined || origin === undefined || configured === origin) return configured;
  return configured === 'auto' || origin === 'metadata-server' ? `${configured}: ${origin}` : configured;
}

/** An address as it stands in a URL. */
export function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}
