import { type Command, Option } from 'commander';
import type { MembershipView } from '../daemon/served-fleet.js';
import { daemonBeside } from './beside.js';
import type { CommandIo } from './io.js';
import { reloadDaemon } from './reload.js';
import { addSettingOptions } from './settings-options.js';
import { table } from './table.js';
import { tokenFailureText, tokenText } from './token-text.js';

export function addMemberships(program: Command, io: CommandIo): void {
  const command = program
    .command('memberships')
    .description('list what the daemon serves')
    .addOption(outputOption())
    .option('--refresh', 'ask the fleet again first')
    .action(async (options: { output: string; refresh?: true }) => {
      const daemon = daemonBeside(command, io);
      if (options.refresh) await reloadDaemon(daemon);
      const memberships = await daemon.memberships();
      if (options.output === 'json') io.out(`${JSON.stringify({ memberships }, null, 2)}\n`);
      else if (memberships.length === 0) io.err("the fleet has no memberships yet; see the daemon's log\n");
      else
        io.out(
          table(
            HEADER,
            memberships.map((membership) => row(membership, io.clock.now())),
          ),
        );
      for (const { alias, problem } of memberships) if (problem !== undefined) io.err(`${alias}: ${problem}\n`);
      const failures = memberships.map((membership) => tokenFailureText(membership, io.clock.now()));
      for (const failure of new Set(failures)) if (failure !== undefined) io.err(`identity ${failure}\n`);
    });
  addSettingOptions(command, 'beside');
}

const HEADER = ['NAME', 'LOCATION', 'KIND', 'STATE', 'VERSION', 'URL', 'TOKEN', 'IDENTITY'];

export function outputOption(): Option {
  return new Option('-o, --output <FORMAT>', 'text or json').choices(['text', 'json']).default('text');
}

function row(membership: MembershipView, now: number): string[] {
  const { alias, location, kind, state, stale, kubernetesVersion, url, identity, principal, tokenFailure } = membership;
  return [
    alias,
    location,
    kind,
    stale ? `${state} (last known)` : state,
    kubernetesVersion ?? '-',
    url ?? '-',
    tokenFailure === undefined ? tokenText(membership, now) : 'failing',
    `${identity} (${principal})`,
  ];
}
