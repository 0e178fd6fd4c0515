import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { type KubeconfigContent, ownEntriesIn, updateKubeconfigFile } from './kubeconfig.js';
import { KubeconfigBook, kubeconfigEntries } from './kubeconfig-book.js';
import type { MembershipView } from './served-fleet.js';
import type { State } from './state.js';

/** A person's kubeconfig that another program has locked, or is in the middle of writing. */
const AGAIN_MS = 5000;

/** Says of which content the own file, byte for byte, is what it should be. */
const SETTLED_FILE = 'kubeconfig-settled.json';

/** Keeps the daemon's own kubeconfig, and those that a person had it merged into, in step with what is served. */
export class KubeconfigKeeper {
  readonly #o: KubeconfigKeeperOptions;
  readonly #book: KubeconfigBook;
  /** By file: what was told of it last. A lock that was left behind must not fill the log. */
  readonly #told = new Map<string, string>();
  #cancel = (): void => {};
  #closed = false;

  constructor(options: KubeconfigKeeperOptions) {
    this.#o = options;
    this.#book = new KubeconfigBook(options.state);
  }

  /** Throws a UsageError for the own file only. */
  keep(): void {
    const content = this.#content();
    if (content === undefined) return;
    this.#keepOwn(content(this.#book.ownTemplate));
    this.#keepMerged();
  }

  /** To read a kubeconfig of fifty memberships as YAML takes as long as half a start; to see that it is the same does not. */
  #keepOwn(content: KubeconfigContent): void {
    const { state, version, ownFile } = this.#o;
    const file = ownFile();
    const settled = (): string | undefined => {
      try {
        const bytes = readFileSync(file);
        return createHash('sha256')
          .update(JSON.stringify([version, file, content]))
          .update(bytes)
          .digest('base64');
      } catch {
        return undefined;
      }
    };
    const before = settled();
    if (before !== undefined && state.readJson(SETTLED_FILE) === before) return;
    updateKubeconfigFile(file, content, { current: 'if-missing', backup: false });
    state.writeJson(SETTLED_FILE, settled() ?? null);
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  #keepMerged(): void {
    this.#cancel();
    const content = this.#content();
    // Before the fleet is known nothing has left it.
    if (content === undefined || this.#o.memberships().length === 0) return;
    const kept = this.#book.merged.map(({ file, template }) => this.#keepOne(file, () => content(template)));
    if (kept.includes(false)) this.#cancel = this.#o.clock.after(AGAIN_MS, () => this.#keepMerged());
  }

  /** Answers false where the file has to be looked at again. */
  #keepOne(file: string, content: () => KubeconfigContent): boolean {
    const { state, log } = this.#o;
    try {
      const found = ownEntriesIn(file, state.folder);
      // A program that writes it without a lock may have emptied it for a moment.
      if (found === 'none' && this.#told.get(file) !== found) {
        this.#told.set(file, found);
        return false;
      }
      if (found !== 'some') {
        log.info({ file }, 'our contexts were taken out of this kubeconfig: it is not kept in step any more');
        this.#told.delete(file);
        this.#book.forget(file);
        return true;
      }
      const { changed } = updateKubeconfigFile(file, content(), { current: 'keep', backup: true });
      if (changed) log.info({ file }, 'the contexts in this kubeconfig are in step with the fleet again');
      this.#told.delete(file);
      return true;
    } catch (error) {
      const problem = describeError(error);
      if (this.#told.get(file) !== problem) {
        log.warn({ file }, `the kubeconfig is not in step with the fleet, and is tried again: ${problem}`);
      }
      this.#told.set(file, problem);
      return false;
    }
  }

  /** By template; undefined where nothing can be written. */
  #content(): ((template: string) => KubeconfigContent) | undefined {
    const { state, memberships } = this.#o;
    const authority = state.authorityCertificate();
    if (authority === undefined || this.#closed) return undefined;
    return (template) => ({
      entries: this.#entries(memberships(), template),
      authority,
      owner: state.folder,
    });
  }

  #entries(served: readonly MembershipView[], template: string): KubeconfigContent['entries'] {
    const { state, log } = this.#o;
    return kubeconfigEntries(served, {
      template,
      state,
      onClash: (context, first, second) =>
        log.warn({ context, first, second }, 'two memberships have one context name: the second has its alias'),
    });
  }
}

export interface KubeconfigKeeperOptions {
  readonly state: State;
  /** Asked each time: both change with a reload. */
  readonly ownFile: () => string;
  readonly memberships: () => readonly MembershipView[];
  /** Of this program: another one may write otherwise. */
  readonly version: string;
  readonly clock: Clock;
  readonly log: Logger;
}
