import { X509Certificate } from 'node:crypto';
import { accessSync, constants, readdirSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { describeError, systemCode, UsageError } from '../../../base/errors.js';
import { type Check, combined, type Finding, fail, ok, warn } from '../check.js';
import type { Context } from '../context.js';

/** Files whose content is a credential. */
const SECRETS = ['secret', 'ca.key', 'server.key', 'hub-token'];
const OTHERS = 0o077;

/** Is the state folder there, ours, writable and for our eyes only, and what is in it sound? */
export const stateFolder: Check = {
  id: 'state',
  title: 'state folder',
  needs: ['configuration'],
  async run(context) {
    const { stateDir } = context.own();
    let names: string[];
    try {
      names = readdirSync(stateDir);
    } catch (error) {
      const code = systemCode(error) ?? String(error);
      if (code === 'ENOENT') return ok(`${stateDir} is not there yet; the first start of the daemon makes it`);
      return fail(`${stateDir} cannot be read (${code})`, code === 'ENOTDIR' ? `ls -l ${stateDir}` : ownIt(stateDir));
    }
    const { kubeconfigFile } = await context.inForce().then(
      ({ settings }) => settings,
      () => context.own(),
    );
    const secrets = [...SECRETS.filter((name) => names.includes(name)).map((name) => join(stateDir, name))];
    const found = [...access(stateDir), ...modes([stateDir, ...secrets, kubeconfigFile]), ...content(context)];
    return combined(found) ?? ok(`${stateDir} and what is in it are for your eyes only`);
  },
};

function access(folder: string): Finding[] {
  try {
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return [];
  } catch (error) {
    return [fail(`${folder} cannot be written to (${systemCode(error)})`, ownIt(folder))];
  }
}

function modes(paths: readonly string[]): Finding[] {
  // Windows' modes say nothing.
  if (process.platform === 'win32') return [];
  const uid = process.getuid?.();
  const seen = paths.flatMap((path) => {
    const about = statSync(path, { throwIfNoEntry: false });
    return about === undefined ? [] : [{ path, about }];
  });
  const foreign = seen.filter(({ about }) => uid !== undefined && uid !== 0 && about.uid !== uid);
  const open = seen.filter(({ about }) => (about.mode & OTHERS) !== 0);
  return [
    ...foreign.map(({ path, about }) => fail(`${path} belongs to another user (${about.uid})`, ownIt(path))),
    ...(open.length === 0
      ? []
      : [
          fail(
            `others of this machine may read ${open.map(({ path, about }) => `${path} (mode ${octal(about)})`).join(', ')}`,
            open
              .map(({ path, about }) => `chmod ${about.isDirectory() ? '700' : '600'} ${path}`)
              .slice(0, 3)
              .join(' && '),
            // What is in it can be used all the same.
            { code: 'state-open', goesOn: true },
          ),
        ]),
  ];
}

function content(context: Context): Finding[] {
  const { stateDir } = context.own();
  let pem: string | undefined;
  try {
    pem = context.state()?.authorityCertificate();
  } catch (error) {
    if (error instanceof UsageError) {
      return [fail(error.message, `rm ${join(stateDir, 'secret')}`, { code: 'state-damaged' })];
    }
    return [fail(`what is in ${stateDir} cannot be read: ${describeError(error)}`, ownIt(stateDir))];
  }
  return pem === undefined ? [] : authority(pem, { stateDir, now: context.io.clock.now() });
}

function authority(pem: string, { stateDir, now }: { stateDir: string; now: number }): Finding[] {
  try {
    const { validTo } = new X509Certificate(pem);
    if (Date.parse(validTo) > now) return [];
    const message = `the local certificate authority ended on ${validTo}; the next start makes another`;
    return [warn(message, 'connect-gateway-proxy stop; connect-gateway-proxy run')];
  } catch {
    const path = join(stateDir, 'ca.pem');
    return [fail(`${path} is no certificate; the next start makes another`, `rm ${path}`, { code: 'state-damaged' })];
  }
}

function octal({ mode }: Stats): string {
  return (mode & 0o777).toString(8).padStart(3, '0');
}

function ownIt(path: string): string {
  return `sudo chown -R "$(id -un)" ${path}`;
}
