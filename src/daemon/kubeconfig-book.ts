import * as v from 'valibot';
import { contextName, type KubeconfigEntry } from './kubeconfig.js';
import type { MembershipView } from './served-fleet.js';
import type { State } from './state.js';

export const DEFAULT_TEMPLATE = '{alias}';
const FILE = 'kubeconfigs.json';
const BOOK = v.object({
  ownTemplate: v.optional(v.string(), DEFAULT_TEMPLATE),
  merged: v.optional(v.array(v.object({ file: v.string(), template: v.string() })), []),
});

/** How a person wants the contexts named, and the files that they were merged into: both outlive a restart. */
export class KubeconfigBook {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  /** Of the daemon's own file. */
  get ownTemplate(): string {
    return this.#read().ownTemplate;
  }

  get merged(): readonly { readonly file: string; readonly template: string }[] {
    return this.#read().merged;
  }

  useTemplate(ownTemplate: string): void {
    if (ownTemplate !== this.ownTemplate) this.#state.writeJson(FILE, { ...this.#read(), ownTemplate });
  }

  remember(file: string, template: string): void {
    const merged = [...this.merged.filter((kept) => kept.file !== file), { file, template }];
    this.#state.writeJson(FILE, { ...this.#read(), merged });
  }

  forget(file: string): void {
    const merged = this.merged.filter((kept) => kept.file !== file);
    if (merged.length < this.merged.length) this.#state.writeJson(FILE, { ...this.#read(), merged });
  }

  #read(): v.InferOutput<typeof BOOK> {
    const parsed = v.safeParse(BOOK, this.#state.readJson(FILE) ?? {});
    return parsed.success ? parsed.output : { ownTemplate: DEFAULT_TEMPLATE, merged: [] };
  }
}

/**
 * The entries of what is served, named by the template. Of two that would have one name the later has its alias; where
 * that is taken too it is left out. `onClash` is told both full names.
 */
export function kubeconfigEntries(
  memberships: readonly MembershipView[],
  o: { template: string; state: State; onClash: (context: string, first: string, second: string) => void },
): KubeconfigEntry[] {
  const taken = new Map<string, string>();
  return memberships.flatMap((membership) => {
    const { url: server, alias, name } = membership;
    if (server === undefined) return [];
    const wanted = contextName(o.template, membership);
    const other = taken.get(wanted);
    if (other !== undefined) o.onClash(wanted, other, name);
    const context = [wanted, alias].find((candidate) => !taken.has(candidate));
    if (context === undefined) return [];
    taken.set(context, name);
    return [{ context, server, token: o.state.tokens.ofMembership(name), membership: name }];
  });
}
