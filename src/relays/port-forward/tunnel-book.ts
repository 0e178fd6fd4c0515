import { principalKey } from '../../credentials/principal.js';
import { parseApiRequest } from '../../kubernetes/api-request.js';
import type { Dialled } from '../remote-command-upstream.js';
import type { RelayTools } from '../served-membership.js';
import { requestHeaders } from '../upstream-headers.js';
import type { TunnelClient, TunnelLease } from './shared-tunnel.js';
import { SharedTunnel } from './shared-tunnel.js';

/**
 * Headers that say nothing about who asks or what for. Any other one keeps its client apart: a header that is not known
 * here may be one that the cluster decides by.
 */
const MEANINGLESS =
  /^(?:accept|accept-encoding|accept-language|content-length|content-type|user-agent|kubectl-command|kubectl-session|origin|pragma|cache-control|priority|x-stream-protocol-version|sec-.*|traceparent|tracestate)$/i;

export type Joined =
  | { readonly kind: 'joined'; readonly lease: TunnelLease }
  | { readonly kind: 'refused'; readonly response: Extract<Dialled, { kind: 'refused' }>['response'] };

/** The tunnels that are open, each for one pod as one identity. */
export class TunnelBook {
  readonly #tools: RelayTools;
  readonly #tunnels = new Map<string, SharedTunnel>();
  /** First dials under way: who wants the same waits for what becomes of them. */
  readonly #starting = new Map<string, Promise<void>>();

  constructor(tools: RelayTools) {
    this.#tools = tools;
  }

  /** Shares the tunnel that there is, or dials one. Rejects with a CodedError or the signal's reason. */
  async join(client: TunnelClient, signal: AbortSignal): Promise<Joined> {
    const key = sharingKey(client);
    for (;;) {
      const starting = this.#starting.get(key);
      if (starting !== undefined) {
        await unlessAborted(starting, signal);
        continue;
      }
      const tunnel = this.#tunnels.get(key);
      if (tunnel === undefined) return await this.#start(key, client, signal);
      await tunnel.ready(signal);
      if (!tunnel.over) return { kind: 'joined', lease: tunnel.join(client) };
    }
  }

  async #start(key: string, client: TunnelClient, signal: AbortSignal): Promise<Joined> {
    const tunnel: SharedTunnel = new SharedTunnel({
      tools: this.#tools,
      api: parseApiRequest(client.target),
      onOver: () => {
        if (this.#tunnels.get(key) === tunnel) this.#tunnels.delete(key);
      },
    });
    this.#tunnels.set(key, tunnel);
    let settled = (): void => {};
    this.#starting.set(
      key,
      new Promise((resolve) => {
        settled = resolve;
      }),
    );
    try {
      const dialled = await tunnel.start(client, signal);
      if (dialled.kind === 'refused') return dialled;
      return { kind: 'joined', lease: tunnel.join(client) };
    } finally {
      this.#starting.delete(key);
      settled();
    }
  }
}

/**
 * Two clients share exactly when nothing that the gateway or the cluster could tell them apart by differs. Who has
 * switched accounts does not get a tunnel of the previous one.
 */
function sharingKey({ served, target, headers }: TunnelClient): string {
  const { membership, address, tokens, quotaProject } = served;
  const sent = requestHeaders(headers);
  const telling: string[] = [];
  for (let i = 0; i + 1 < sent.length; i += 2) {
    const name = String(sent[i]).toLowerCase();
    if (!MEANINGLESS.test(name)) telling.push(name, String(sent[i + 1]));
  }
  const principal = [membership.identity, principalKey(tokens.principal), quotaProject ?? ''];
  return JSON.stringify([membership.name, principal, address.host, address.pathPrefix, target, telling]);
}

function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    void promise.then(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
  });
}
