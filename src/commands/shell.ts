import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { CodedError, UsageError } from '../base/errors.js';
import { mergeKubeconfig } from '../daemon/kubeconfig.js';
import type { MembershipView } from '../daemon/served-fleet.js';
import { closestNames } from '../fleet/names.js';
import { type DaemonBeside, daemonBeside } from './beside.js';
import { runChild } from './child.js';
import type { CommandIo } from './io.js';
import { authorityOf } from './kubeconfig.js';
import { addSettingOptions } from './settings-options.js';

export function addShell(program: Command, io: CommandIo, setExitCode: (code: number) => void): void {
  const command = program
    .command('shell')
    .description('a shell, or one command, whose kubectl reaches one membership and no other')
    .argument('<membership>', 'its name as memberships lists it, or its full name')
    .argument('[command...]', 'what to run instead of $SHELL, after --')
    .addHelpText(
      'after',
      '\nKUBECONFIG names a file of its own that holds this one context, and is removed afterwards. The exit code is the command’s.\n\nExamples:\n  $ connect-gateway-proxy shell prod\n  $ connect-gateway-proxy shell prod -- kubectl get pods\n  $ connect-gateway-proxy shell prod -- helm upgrade web ./chart\n',
    )
    .action(async (name: string, words: readonly string[]) => {
      const daemon = daemonBeside(command, io);
      const membership = find(name, await daemon.memberships());
      const folder = mkdtempSync(join(tmpdir(), 'connect-gateway-proxy-shell-'));
      try {
        const file = join(folder, 'kubeconfig');
        writeFileSync(file, kubeconfigOf(daemon, membership), { mode: 0o600 });
        if (words.length === 0 && io.errIsTty) {
          io.err(`kubectl reaches ${membership.alias} alone (policy ${membership.policy}); leave with exit\n`);
        }
        const env = { KUBECONFIG: file, CONNECT_GATEWAY_PROXY_MEMBERSHIP: membership.alias };
        setExitCode(await runChild(words.length === 0 ? [shellOf(io)] : words, { io, env }));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });
  addSettingOptions(command, 'beside');
}

function find(wanted: string, memberships: readonly MembershipView[]): MembershipView {
  const found = memberships.find(({ alias, name }) => alias === wanted || name === wanted);
  if (found !== undefined) return found;
  const aliases = memberships.map(({ alias }) => alias);
  const close = closestNames(wanted, aliases);
  const hint =
    close.length === 0 ? 'connect-gateway-proxy memberships lists them' : `did you mean ${close.join(' or ')}?`;
  throw new UsageError(`there is no membership ${JSON.stringify(wanted)}: ${hint}`);
}

function kubeconfigOf(daemon: DaemonBeside, { alias, name, url, problem }: MembershipView): string {
  if (url === undefined) {
    throw new CodedError({
      code: 'membership-not-served',
      message: `${alias} has no endpoint of its own: ${problem ?? 'it is being opened'}`,
    });
  }
  const entry = { context: alias, server: url, token: daemon.state.tokens.ofMembership(name), membership: name };
  const content = { entries: [entry], authority: authorityOf(daemon), owner: daemon.state.folder };
  return mergeKubeconfig('', content, { path: 'kubeconfig', current: 'first' });
}

function shellOf(io: CommandIo): string {
  const given = process.platform === 'win32' ? io.env['ComSpec'] : io.env['SHELL'];
  return given || (process.platform === 'win32' ? 'cmd.exe' : '/bin/sh');
}
