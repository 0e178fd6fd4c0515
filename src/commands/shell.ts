import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { CodedError } from '../base/errors.js';
import { mergeKubeconfig } from '../daemon/kubeconfig.js';
import type { MembershipView } from '../daemon/served-fleet.js';
import { type DaemonBeside, daemonBeside } from './beside.js';
import { runChild } from './child.js';
import type { CommandIo } from './io.js';
import { authorityOf } from './kubeconfig.js';
import { membershipByName } from './membership-by-name.js';
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
      const membership = membershipByName(await daemon.memberships(), name);
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
