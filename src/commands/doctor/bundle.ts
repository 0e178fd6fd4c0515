import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { arch, platform, release, uptime } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { createTar } from 'nanotar';
import { tellEnvironment } from '../../daemon/environment.js';
import { writePrivateFile } from '../../daemon/files.js';
import { readIfThere } from '../service/files.js';
import { knownSecrets } from './bundle-secrets.js';
import type { Context } from './context.js';
import type { SeenKubeconfig } from './kubeconfigs.js';
import { Redactor } from './redact.js';
import { type DoctorReport, lineOf, summaryOf } from './report.js';

const LOG_LINES = 500;
const JOURNAL_MS = 5000;
const FOLDER = 'connect-gateway-proxy-doctor';

const README = `What connect-gateway-proxy doctor found out on one machine, for a bug report.

It holds names: of projects, clusters, pods, accounts, files and hosts. It holds no token, no key, no password, no
kubeconfig's credentials, and nothing of what was sent or received. Look through it before you hand it on.
`;

/** Writes a .tar.gz, mode 0600. What cannot be gathered is left out. Throws the file system's error. */
export async function writeBundle(path: string, o: { context: Context; report: DoctorReport }): Promise<void> {
  const { context, report } = o;
  const { io } = context;
  const redactor = new Redactor(await knownSecrets(context).catch(() => []));
  const files = new Map<string, string>([
    ['README.txt', README],
    ['doctor.txt', redactor.text(textOf(report))],
  ]);
  const documents: Record<string, unknown> = {
    doctor: report,
    machine: {
      version: io.version,
      node: process.version,
      platform: platform(),
      arch: arch(),
      release: release(),
      uptimeSeconds: Math.round(uptime()),
    },
    settings: await settings(context),
    'state-folder': stateFolder(context),
    kubeconfigs: await gathered(() => kubeconfigs(context)),
    service: context.service(),
    memberships: await gathered(() => context.everyMembership()),
    sessions: await gathered(() => context.askDaemon('/-/sessions')),
    quota: await gathered(() => context.askDaemon('/-/quota')),
  };
  for (const [name, value] of Object.entries(documents)) {
    if (value === undefined) continue;
    files.set(`${name}.json`, `${JSON.stringify(redactor.json(value), null, 2)}\n`);
  }
  const log = await lastLog(context);
  if (log !== undefined) files.set('log.txt', redactor.text(log));
  const mtime = io.clock.now();
  const tar = createTar(
    [...files].map(([name, data]) => ({
      name: `${FOLDER}/${name}`,
      data,
      attrs: { mode: '600', uid: 0, gid: 0, mtime },
    })),
  );
  writePrivateFile(path, gzipSync(tar));
}

function textOf(report: DoctorReport): string {
  const titleWidth = Math.max(...report.checks.map(({ title }) => title.length));
  return report.checks.map((check) => lineOf(check, { titleWidth, colour: false })).join('') + summaryOf(report);
}

async function settings(context: Context): Promise<unknown> {
  const inForce = await gathered(() => context.inForce());
  if (inForce === undefined) return undefined;
  return { of: inForce.of, settings: inForce.settings, environment: tellEnvironment(inForce.env) };
}

/** Names, modes and sizes: no content. */
function stateFolder(context: Context): unknown {
  try {
    const { stateDir } = context.own();
    return readdirSync(stateDir).map((name) => {
      const { mode, size, mtimeMs } = statSync(join(stateDir, name));
      return { name, mode: (mode & 0o777).toString(8), size, changed: new Date(mtimeMs).toISOString() };
    });
  } catch {
    return undefined;
  }
}

/** Where each context leads, and by whose leave; never the leave itself. */
async function kubeconfigs(context: Context): Promise<unknown> {
  const { own, persons } = await context.kubeconfigs();
  return { persons: withoutCredentials(persons), own: withoutCredentials(own) };
}

function withoutCredentials(seen: SeenKubeconfig): unknown {
  return {
    ...seen,
    contexts: seen.contexts.map(({ token, authority, ...rest }) => ({
      ...rest,
      ...(authority === undefined ? {} : { authority: fingerprint(authority) }),
      bearer: token !== undefined,
    })),
  };
}

function fingerprint(pem: string): string {
  try {
    // Its beginning tells two apart.
    return new X509Certificate(pem).fingerprint256.slice(0, 23);
  } catch {
    return 'no certificate';
  }
}

async function lastLog(context: Context): Promise<string | undefined> {
  const service = await gathered(async () => context.service());
  if (service === undefined) return undefined;
  if (service.manager !== 'systemd') {
    return readIfThere(service.definition.logFile)?.split('\n').slice(-LOG_LINES).join('\n');
  }
  return await new Promise((resolve) => {
    const args = ['--user-unit=connect-gateway-proxy.service', `--lines=${LOG_LINES}`, '--no-pager', '--output=cat'];
    const options = { timeout: JOURNAL_MS, maxBuffer: 16 * 1024 * 1024 };
    execFile('journalctl', args, options, (error, stdout) => resolve(error === null ? stdout : undefined));
  });
}

async function gathered<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch {
    return undefined;
  }
}
