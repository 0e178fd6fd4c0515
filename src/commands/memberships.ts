import { type Command, Option } from 'commander';
import { UsageError } from '../base/errors.js';
import type { MembershipView } from '../daemon/served-fleet.js';
import { type DaemonBeside, daemonBeside } from './beside.js';
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
    .option('--http', 'with the plain HTTP URLs (listen.http): who knows one needs no token')
    .action(async (options: { output: string; refresh?: true; http?: true }) => {
      const daemon = daemonBeside(command, io);
      const plainUrl = options.http ? plainUrlsOf(daemon) : undefined;
      if (options.refresh) await reloadDaemon(daemon);
      const served = await daemon.memberships();
      const memberships = served.map((one) => (plainUrl === undefined ? one : { ...one, httpUrl: plainUrl(one.name) }));
      if (options.output === 'json') io.out(`${JSON.stringify({ memberships }, null, 2)}\n`);
      else if (memberships.length === 0) io.err("the fleet has no memberships yet; see the daemon's log\n");
      else if (plainUrl === undefined)
        io.out(
          table(
            HEADER,
            memberships.map((one) => row(one, io.clock.now())),
          ),
        );
      else
        io.out(
          table(
            ['NAME', 'HTTP URL'],
            memberships.map(({ alias, name }) => [alias, plainUrl(name)]),
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

/** The URL of each membership on the plain HTTP listener. Throws a UsageError where there is none. */
export function plainUrlsOf({ record, state }: DaemonBeside): (membership: string) => string {
  const { plainUrl } = record;
  if (plainUrl === undefined) {
    throw new UsageError(
      'the running daemon serves no plain HTTP; set listen.http: PORT in its config (--listen-http PORT) and restart it',
    );
  }
  return (membership) => `${plainUrl}/${state.tokens.pathSecretOf(membership)}`;
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
