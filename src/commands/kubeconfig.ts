import { homedir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { CodedError, UsageError } from '../base/errors.js';
import {
  type KubeconfigContent,
  type KubeconfigEntry,
  mergeKubeconfig,
  removeFromKubeconfigFile,
  updateKubeconfigFile,
} from '../daemon/kubeconfig.js';
import { DEFAULT_TEMPLATE, KubeconfigBook, kubeconfigEntries } from '../daemon/kubeconfig-book.js';
import { State } from '../daemon/state.js';
import { type DaemonBeside, daemonBeside } from './beside.js';
import type { CommandIo } from './io.js';
import { plainUrlsOf } from './memberships.js';
import { withProgress } from './progress.js';
import { addSettingOptions, settingsOf } from './settings-options.js';

/** kubectl holds its lock for milliseconds. */
const LOCK_TRIES = 20;
const LOCK_PAUSE_MS = 100;

interface KubeconfigOptions {
  readonly stdout?: true;
  readonly merge?: string | true;
  readonly remove?: string | true;
  readonly setCurrentContext?: true;
  readonly contextTemplate?: string;
  readonly http?: true;
}

export function addKubeconfig(program: Command, io: CommandIo): void {
  const command = program
    .command('kubeconfig')
    .description("write contexts for every membership: into the daemon's own file, or with --merge into yours")
    .option('--stdout', 'print the kubeconfig instead of writing it')
    .option(
      '--merge [FILE]',
      'add the contexts to FILE (default: $KUBECONFIG, else ~/.kube/config), keep all else, and keep them in step with the fleet',
    )
    .option('--remove [FILE]', 'take our contexts out of FILE again, for good')
    .option('--set-current-context', 'also make the first membership the current context')
    .option('--http', 'with the plain HTTP URLs (listen.http), for tools that know no TLS; needs --stdout or --merge')
    .option(
      '--context-template <TEMPLATE>',
      'names of the contexts: {alias}, {id}, {location}, {project}; remembered (default: {alias})',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ export KUBECONFIG=$(connect-gateway-proxy kubeconfig)\n  $ connect-gateway-proxy kubeconfig --merge --context-template "fleet-{alias}"\n',
    )
    .action(async (options: KubeconfigOptions) => {
      if ([options.stdout, options.merge, options.remove].filter((given) => given !== undefined).length > 1) {
        throw new UsageError('choose one of --stdout, --merge and --remove');
      }
      if (options.http && options.stdout === undefined && options.merge === undefined) {
        throw new UsageError('--http needs --stdout or --merge: the daemon keeps the TLS URLs in its own file');
      }
      if (options.remove !== undefined) {
        const { stateDir } = settingsOf(command, io);
        const file = resolve(options.remove === true ? personsKubeconfig(io) : options.remove);
        const state = State.read(stateDir);
        if (state !== undefined) new KubeconfigBook(state).forget(file);
        const { changed } = await patiently(io, () => removeFromKubeconfigFile(file, stateDir));
        io.err(changed ? `removed our contexts from ${file}\n` : `${file} has none of our contexts\n`);
        return;
      }
      const daemon = daemonBeside(command, io);
      const book = new KubeconfigBook(daemon.state);
      const template = options.contextTemplate ?? (options.merge === undefined ? book.ownTemplate : DEFAULT_TEMPLATE);
      const content = await contentOf(daemon, { template, http: options.http === true });
      const current = options.setCurrentContext ? 'first' : 'if-missing';
      if (options.stdout) {
        io.out(mergeKubeconfig('', content, { path: 'stdout', current }));
      } else if (options.merge !== undefined) {
        const file = resolve(options.merge === true ? personsKubeconfig(io) : options.merge);
        const keep = options.setCurrentContext ? 'first' : 'keep';
        await patiently(io, () => updateKubeconfigFile(file, content, { current: keep, backup: true }));
        // Plain HTTP is a thing of the moment: its URLs hold a secret, and the port may be switched off.
        if (options.http) book.forget(file);
        else book.remember(file, template);
        io.err(mergedText(content.entries.length, { file, follow: options.http !== true }));
      } else {
        const file = daemon.settings.kubeconfigFile;
        book.useTemplate(template);
        updateKubeconfigFile(file, content, { current, backup: false });
        // The path alone, so that a shell can take it.
        io.out(`${file}\n`);
      }
    });
  addSettingOptions(command, 'beside');
}

/** PEM of the authority that the daemon's endpoints are trusted by. Throws a CodedError. */
export function authorityOf({ state }: DaemonBeside): string {
  const authority = state.authorityCertificate();
  if (authority !== undefined) return authority;
  throw new CodedError({ code: 'state-damaged', message: `${state.path('ca.pem')} is missing; restart the daemon` });
}

function mergedText(count: number, { file, follow }: { file: string; follow: boolean }): string {
  const [what, verb] = count === 1 ? ['1 context is', 'follows'] : [`${count} contexts are`, 'follow'];
  return `${what} in ${file}${follow ? `, and ${verb} the fleet` : ''}\n`;
}

/** Tries for a while where another program is at the same file. */
async function patiently<T>(io: CommandIo, act: () => T): Promise<T> {
  return await withProgress(io, 'waiting for another program to write the kubeconfig', async () => {
    for (let tries = 1; ; tries++) {
      try {
        return act();
      } catch (error) {
        if (!(error instanceof CodedError) || error.code !== 'kubeconfig-locked' || tries === LOCK_TRIES) throw error;
        await io.pause(LOCK_PAUSE_MS);
      }
    }
  });
}

async function contentOf(
  daemon: DaemonBeside,
  { template, http }: { template: string; http: boolean },
): Promise<KubeconfigContent> {
  const plainUrl = http ? plainUrlsOf(daemon) : undefined;
  const entries = kubeconfigEntries(await daemon.memberships(), {
    template,
    state: daemon.state,
    onClash: (context, first, second) => {
      throw new UsageError(`--context-template ${template} gives ${first} and ${second} the same name ${context}`);
    },
  });
  return {
    entries: plainUrl === undefined ? entries : entries.map((entry) => withoutToken(entry, plainUrl(entry.membership))),
    authority: authorityOf(daemon),
    owner: daemon.state.folder,
  };
}

function withoutToken({ context, membership }: KubeconfigEntry, server: string): KubeconfigEntry {
  return { context, membership, server };
}

/** The file that kubectl itself would write to. */
function personsKubeconfig(io: CommandIo): string {
  const [first] = (io.env['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  return first ?? join(homedir(), '.kube', 'config');
}
