import { CodedError, describeError } from '../base/errors.js';
import { portOwner } from './port-owner.js';

/** Remembers which membership has which port: kubeconfigs name them. */
export class PortBook {
  readonly #range: { first: number; last: number };
  readonly #ports: Map<string, number>;
  readonly #opening = new Set<number>();
  readonly #save: (ports: Record<string, number>) => void;

  constructor(options: {
    /** 0 to 0: any free port, nothing remembered. */
    range: { first: number; last: number };
    /** As `save` was given it: port by membership name. */
    remembered: unknown;
    save: (ports: Record<string, number>) => void;
  }) {
    this.#range = options.range;
    this.#save = options.save;
    const remembered = typeof options.remembered === 'object' ? (options.remembered ?? {}) : {};
    this.#ports = new Map(Object.entries(remembered).filter(([, port]) => isPort(port)) as [string, number][]);
  }

  /**
   * Opens the membership's port: the pinned one, the remembered one, or the next one that is free. Rejects with a
   * CodedError that names the port's owner where it is known: a pinned or remembered port is never silently replaced.
   */
  async open(
    membership: { readonly name: string; readonly port?: number },
    listen: (port: number) => Promise<number>,
  ): Promise<number> {
    if (membership.port !== undefined) return await namingOwner(membership.port, listen);
    if (this.#range.first === 0) return await listen(0);
    const remembered = this.#ports.get(membership.name);
    if (remembered !== undefined && remembered >= this.#range.first && remembered <= this.#range.last) {
      return await namingOwner(remembered, listen);
    }
    const opening = this.#opening;
    for (let port = this.#range.first; port <= this.#range.last; port++) {
      if (opening.has(port) || [...this.#ports.values()].includes(port)) continue;
      // Before the wait, so that memberships that are opened at the same time do not try the same port.
      opening.add(port);
      try {
        await listen(port);
        this.#ports.set(membership.name, port);
        this.#save(Object.fromEntries(this.#ports));
        return port;
      } catch (error) {
        if (!(error instanceof CodedError) || error.code !== 'port-taken') throw error;
      }
    }
    throw new CodedError({
      code: 'ports-exhausted',
      message: `no free port in ${this.#range.first}-${this.#range.last} for ${membership.name}: widen listen.membershipPorts (--membership-ports)`,
    });
  }
}

/** Adds to `port-taken` who has it and what to do. */
export async function namingOwner(port: number, listen: (port: number) => Promise<number>): Promise<number> {
  try {
    return await listen(port);
  } catch (error) {
    if (!(error instanceof CodedError) || error.code !== 'port-taken') throw error;
    const owner = portOwner(port);
    throw new CodedError({
      code: 'port-taken',
      message: `${describeError(error)}${owner === undefined ? '' : `: ${owner}`}; stop it, or choose another port`,
      cause: error,
    });
  }
}

function isPort(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 65_536;
}
