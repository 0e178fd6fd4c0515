import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { Agent } from 'undici';
import { createLogger } from '../../src/base/log.js';
import type { GcloudRun, RunProgram } from '../../src/credentials/gcloud.js';
import { Identities, type IdentitySettings } from '../../src/credentials/identities.js';
import type { TokenSource } from '../../src/credentials/token-source.js';
import { FakeClock } from './fake-clock.js';

export const HOUR = 3_600_000;
export const MINUTE = 60_000;

/** A machine with a gcloud whose answers the test gives, and a clock that the test moves. */
export class GcloudMachine {
  readonly clock = new FakeClock();
  readonly folder: string;
  readonly env: Record<string, string>;
  readonly runs: { readonly args: readonly string[]; readonly env: Readonly<Record<string, string | undefined>> }[] =
    [];
  readonly logs: string[] = [];
  answer: () => Partial<GcloudRun> | Promise<Partial<GcloudRun>> = () => this.token('ya29.first');
  #changes = 0;

  constructor(t: Test, account = 'dev@example.com') {
    this.folder = t.testdir({ bin: { gcloud: '' }, gcloud: { configurations: {} } });
    chmodSync(join(this.folder, 'bin/gcloud'), 0o755);
    this.env = { PATH: join(this.folder, 'bin'), HOME: this.folder, CLOUDSDK_CONFIG: join(this.folder, 'gcloud') };
    this.configure('default', account);
    this.write('gcloud/credentials.db', '');
  }

  write(path: string, text: string): void {
    // Sizes differ, so that a test does not depend on the resolution of the file system's clock.
    const filler = ' '.repeat(++this.#changes);
    writeFileSync(join(this.folder, path), text + filler);
  }

  configure(name: string, account: string, more = ''): void {
    mkdirSync(join(this.folder, 'gcloud/configurations'), { recursive: true });
    this.write(`gcloud/configurations/config_${name}`, `[core]\naccount = ${account}\n${more}\n`);
  }

  token(value: string, lifeMs = HOUR): Partial<GcloudRun> {
    const token_expiry = new Date(this.clock.now() + lifeMs).toISOString();
    return { stdout: JSON.stringify({ credential: { access_token: value, token_expiry } }) };
  }

  source(identity: Partial<IdentitySettings> = {}, iam?: string): TokenSource {
    return this.identities(iam).open('ci', { source: 'gcloud', ...identity });
  }

  identities(iam = 'http://127.0.0.1:9'): Identities {
    const run: RunProgram = async (_program, args, { env }) => {
      this.runs.push({ args, env });
      return { code: 0, stdout: '', stderr: '', ...(await this.answer()) };
    };
    return new Identities({
      clock: this.clock,
      log: createLogger({ level: 'trace', format: 'json', write: (line: string) => this.logs.push(line) }),
      env: this.env,
      universe: 'googleapis.com',
      iam: { endpoint: iam, dispatcher: async () => new Agent() },
      run,
    });
  }
}
