import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Command } from 'commander';
import { CodedError, UsageError } from '../base/errors.js';
import {
  contextName,
  type KubeconfigContent,
  mergeKubeconfig,
  removeFromKubeconfigFile,
  updateKubeconfigFile,
} from '../daemon/kubeconfig.js';
import { type DaemonBeside, daemonBeside } from './beside.js';
import type { CommandIo } from './io.js';
import { plainUrlsOf } from './memberships.js';
import { addSettingOptions, settingsOf } from './settings-options.js';

interface KubeconfigOptions {
  readonly stdout?: true;
  readonly merge?: string | true;
  readonly remove?: string | true;
  readonly setCurrentContext?: true;
  readonly contextTemplate: string;
  readonly http?: true;
}

export function addKubeconfig(program: Command, io: CommandIo): void {
  const command = program
    .command('kubeconfig')
    .description("write contexts for every membership: into the daemon's own file, or with --merge into yours")
    .option('--stdout', 'print the kubeconfig instead of writing it')
    .option('--merge [FILE]', 'add the contexts to FILE (default: $KUBECONFIG, else ~/.kube/config), keeping all else')
    .option('--remove [FILE]', 'take our contexts out of FILE again')
    .option('--set-current-context', 'also make the first membership the current context')
    .option('--http', 'with the plain HTTP URLs (listen.http), for tools that know no TLS; needs --stdout or --merge')
    .option('--context-template <TEMPLATE>', 'names of the contexts: {alias}, {id}, {location}, {project}', '{alias}')
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
        const file = options.remove === true ? personsKubeconfig(io) : options.remove;
        const { changed } = removeFromKubeconfigFile(file, stateDir);
        io.err(changed ? `removed our contexts from ${file}\n` : `${file} has none of our contexts\n`);
        return;
      }
      const daemon = daemonBeside(command, io);
      const content = await contentOf(daemon, options);
      const current = options.setCurrentContext ? 'first' : 'if-missing';
      if (options.stdout) {
        io.out(mergeKubeconfig('', content, { path: 'stdout', current }));
      } else if (options.merge !== undefined) {
        const file = options.merge === true ? personsKubeconfig(io) : options.merge;
        const keep = options.setCurrentContext ? 'first' : 'keep';
        updateKubeconfigFile(file, content, { current: keep, backup: true });
        io.err(`${content.entries.length} contexts are in ${file}\n`);
      } else {
        const file = daemon.settings.kubeconfigFile;
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

async function contentOf(
  daemon: DaemonBeside,
  { contextTemplate: template, http }: KubeconfigOptions,
): Promise<KubeconfigContent> {
  const plainUrl = http ? plainUrlsOf(daemon) : undefined;
  const authority = authorityOf(daemon);
  const memberships = await daemon.memberships();
  const names = new Map<string, string>();
  const entries = memberships.flatMap((membership) => {
    const { url, name } = membership;
    if (url === undefined) return [];
    const context = contextName(template, membership);
    const other = names.get(context);
    if (other !== undefined) {
      throw new UsageError(`--context-template ${template} gives ${other} and ${name} the same name ${context}`);
    }
    names.set(context, name);
    const known = { context, membership: name };
    if (plainUrl !== undefined) return [{ ...known, server: plainUrl(name) }];
    return [{ ...known, server: url, token: daemon.state.tokens.ofMembership(name) }];
  });
  return { entries, authority, owner: daemon.state.folder };
}

/** The file that kubectl itself would write to. */
function personsKubeconfig(io: CommandIo): string {
  const [first] = (io.env['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  return first ?? join(homedir(), '.kube', 'config');
}
