import * as v from 'valibot';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';

/** What is known of a membership without asking again. */
export interface KnownMembership {
  readonly name: string;
  /** As the configuration names it: id or number. */
  readonly listedUnder: string;
  readonly project: string;
  readonly projectId?: string | undefined;
  readonly location: string;
  readonly id: string;
  readonly kind: 'gke' | 'attached' | 'multi-cloud' | 'on-prem' | 'edge' | 'appliance';
  readonly state: string;
  readonly uniqueId?: string | undefined;
  readonly kubernetesVersion?: string | undefined;
  /** Google's, whatever the configuration puts in its place. */
  readonly endpoint: string;
  readonly endpointSource: 'generateCredentials' | 'formula';
  /** The gateway override, or the universe, that was asked for the endpoint. What one told is not for another. */
  readonly endpointToldBy?: string | undefined;
  /** When generateCredentials was last asked, ms since the epoch. */
  readonly endpointAskedAt?: number | undefined;
  readonly stale: boolean;
}

/** The fleet as it was last seen, kept over restarts: with it the daemon is ready without a network. */
export interface FleetCache {
  load(): readonly KnownMembership[];
  save(memberships: readonly KnownMembership[]): void;
}

const text = v.string();
const SCHEMA = v.object({
  version: v.literal(1),
  memberships: v.array(
    v.object({
      name: text,
      listedUnder: text,
      project: text,
      projectId: v.optional(text),
      location: text,
      id: text,
      kind: v.picklist(['gke', 'attached', 'multi-cloud', 'on-prem', 'edge', 'appliance']),
      state: text,
      uniqueId: v.optional(text),
      kubernetesVersion: v.optional(text),
      endpoint: v.pipe(text, v.url()),
      endpointSource: v.picklist(['generateCredentials', 'formula']),
      endpointToldBy: v.optional(text),
      endpointAskedAt: v.optional(v.number()),
      stale: v.boolean(),
    }),
  ),
});

/** A cache that cannot be read is as good as none; one that cannot be written costs only the next start. */
export function createFleetCache(options: {
  read: () => unknown;
  write: (content: unknown) => void;
  log: Logger;
}): FleetCache {
  const { read, write, log } = options;
  let saved = '';
  return {
    load() {
      try {
        const content = read();
        if (content === undefined) return [];
        const parsed = v.safeParse(SCHEMA, content);
        if (parsed.success) return parsed.output.memberships;
        log.warn({}, 'the cached fleet has another format and is fetched anew');
      } catch (error) {
        log.warn({}, `the cached fleet cannot be read and is fetched anew: ${describeError(error)}`);
      }
      return [];
    },
    save(memberships) {
      // A fleet seldom changes; its file need not be written at every refresh.
      const now = JSON.stringify(memberships);
      if (now === saved) return;
      try {
        write({ version: 1, memberships });
        saved = now;
      } catch (error) {
        log.warn({}, `the fleet could not be cached: ${describeError(error)}`);
      }
    },
  };
}
