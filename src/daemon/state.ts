import { createHmac, randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { CertificatePair } from '../base/certificates.js';
import { makeCertificatesApart } from '../base/certificates-apart.js';
import { describeError, systemCode, UsageError } from '../base/errors.js';
import type { LocalTokens } from '../frontdoor/front-door.js';
import { ensurePrivateFolder, writePrivateFile } from './files.js';

const DAY_MS = 24 * 60 * 60 * 1000;
/** Clients hold the authority in their kubeconfig: it outlives any of them. */
const AUTHORITY_DAYS = 3650;
/** Short enough that a copied key is soon worthless, long enough that a laptop's holidays do not matter. */
const LEAF_DAYS = 90;
const RENEW_BEFORE_MS = 30 * DAY_MS;
const SECRET_BYTES = 32;

/** What a running daemon says of itself in `daemon.json`. */
export interface DaemonRecord {
  readonly pid: number;
  readonly hubUrl: string;
  /** Of the plain HTTP listener, where there is one, without the secret path. */
  readonly plainUrl?: string;
  /** ms since the epoch. */
  readonly startedAt: number;
  readonly version: string;
}

/** The state folder: what must be the same after a restart. All of it is for the owner's eyes only. */
export class State {
  readonly folder: string;
  readonly #secret: Buffer;
  readonly #tokens = new Map<string, string>();

  private constructor(folder: string, secret: Buffer) {
    this.folder = folder;
    this.#secret = secret;
  }

  /** Creates what is missing. Throws a UsageError when the folder cannot be used. */
  static open(folder: string): State {
    try {
      ensurePrivateFolder(folder);
      return new State(folder, readSecret(folder) ?? createSecret(folder));
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new UsageError(
        `cannot use the state folder ${folder}: ${describeError(error)}; choose another with --state-dir`,
        {
          cause: error,
        },
      );
    }
  }

  /** For commands beside the daemon: undefined where no daemon has ever run. */
  static read(folder: string): State | undefined {
    const secret = readSecret(folder);
    return secret === undefined ? undefined : new State(folder, secret);
  }

  /** Tokens are derived, not stored: the same membership has the same token after a restart. */
  get tokens(): LocalTokens {
    return {
      hub: this.#derive('hub'),
      ofMembership: (name) => this.#derive(`membership:${name}`),
      pathSecretOf: (name) => this.#derive(`path:${name}`),
    };
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** The authority that kubeconfigs trust, PEM. Undefined before the first start of a daemon. */
  authorityCertificate(): string | undefined {
    return readText(this.path('ca.pem'));
  }

  /** A certificate for the loopback endpoints that is good for another month; made or renewed where needed. */
  async serverCertificate(options: { address: string; now: number }): Promise<CertificatePair> {
    const hosts = [...new Set(['127.0.0.1', 'localhost', '::1', options.address])];
    const authority = this.#readPair('ca', options.now);
    const leaf = authority === undefined ? undefined : this.#readPair('server', options.now);
    if (leaf !== undefined && authority !== undefined && covers(leaf, authority, options.address)) return leaf;
    const made = await makeCertificatesApart({
      authority: authority ?? { commonName: newAuthorityName(), validDays: AUTHORITY_DAYS },
      server: { commonName: 'connect-gateway-proxy', hosts, validDays: LEAF_DAYS },
      now: options.now,
    });
    if (authority === undefined) this.#writePair('ca', made.authority);
    this.#writePair('server', made.server);
    return made.server;
  }

  readJson(name: string): unknown {
    const text = readText(this.path(name));
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  }

  writeJson(name: string, value: unknown): void {
    writePrivateFile(this.path(name), `${JSON.stringify(value, null, 2)}\n`);
  }

  readDaemon(): DaemonRecord | undefined {
    const record = this.readJson('daemon.json') as Partial<DaemonRecord> | undefined;
    const { pid, hubUrl, plainUrl, startedAt = 0, version = '' } = record ?? {};
    if (typeof pid !== 'number' || typeof hubUrl !== 'string') return undefined;
    return { pid, hubUrl, ...(typeof plainUrl === 'string' ? { plainUrl } : {}), startedAt, version };
  }

  writeDaemon(record: DaemonRecord): void {
    this.writeJson('daemon.json', record);
    // For programs that read credentials from a file, as Prometheus does.
    writePrivateFile(this.path('hub-token'), this.tokens.hub);
  }

  /** Only the daemon that wrote the record may remove it. */
  removeDaemon(pid: number): void {
    if (this.readDaemon()?.pid === pid) rmSync(this.path('daemon.json'), { force: true });
  }

  #readPair(name: string, now: number): CertificatePair | undefined {
    const certificate = readText(this.path(`${name}.pem`));
    const privateKey = readText(this.path(`${name}.key`));
    if (certificate === undefined || privateKey === undefined) return undefined;
    try {
      const { validTo, validFrom } = new X509Certificate(certificate);
      const fresh = Date.parse(validTo) - now > RENEW_BEFORE_MS && Date.parse(validFrom) <= now;
      return fresh ? { certificate, privateKey } : undefined;
    } catch {
      return undefined;
    }
  }

  /** The key first: a certificate without its key is made anew, a key without its certificate as well. */
  #writePair(name: string, pair: CertificatePair): void {
    writePrivateFile(this.path(`${name}.key`), pair.privateKey);
    writePrivateFile(this.path(`${name}.pem`), pair.certificate);
  }

  #derive(purpose: string): string {
    let token = this.#tokens.get(purpose);
    if (token === undefined) {
      token = createHmac('sha256', this.#secret).update(purpose).digest('base64url');
      this.#tokens.set(purpose, token);
    }
    return token;
  }
}

/** The machine's own name would tell more than it helps. */
function newAuthorityName(): string {
  return `connect-gateway-proxy local CA ${randomBytes(4).toString('hex')}`;
}

function covers(leaf: CertificatePair, authority: CertificatePair, address: string): boolean {
  const certificate = new X509Certificate(leaf.certificate);
  const issuer = new X509Certificate(authority.certificate);
  const named = address === 'localhost' ? certificate.checkHost(address) : certificate.checkIP(address);
  return named !== undefined && certificate.verify(issuer.publicKey);
}

function readSecret(folder: string): Buffer | undefined {
  const path = join(folder, 'secret');
  const text = readText(path);
  if (text === undefined) return undefined;
  const secret = Buffer.from(text.trim(), 'hex');
  if (secret.length !== SECRET_BYTES) {
    throw new UsageError(
      `${path} is damaged: expected ${SECRET_BYTES * 2} hex digits; remove it, start the daemon again, and write kubeconfigs anew`,
    );
  }
  return secret;
}

function createSecret(folder: string): Buffer {
  const secret = randomBytes(SECRET_BYTES);
  writePrivateFile(join(folder, 'secret'), `${secret.toString('hex')}\n`);
  return secret;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
