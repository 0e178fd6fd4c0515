import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { UsageError } from '../base/errors.js';
import type { CommandIo } from './io.js';
import { outputOption } from './memberships.js';
import { Progress } from './progress.js';
import { shellArgument } from './service/templates.js';
import { addSettingOptions, settingsOf } from './settings-options.js';

interface DoctorOptions {
  readonly output: string;
  readonly namespace?: string;
  readonly bundle?: string;
}

const HELP = `
Checks that depend on one that has failed are not made, so that the first failure is the cause. Nothing is changed, and
nothing runs in any container: the exec is asked of a pod that does not exist.

Examples:
  $ connect-gateway-proxy doctor
  $ connect-gateway-proxy doctor prod --namespace web
  $ connect-gateway-proxy doctor -o json | jq -r .first.next
  $ connect-gateway-proxy doctor prod --bundle report.tar.gz
`;

/** Exit code 0 when no check has failed, otherwise 1. */
export function addDoctor(program: Command, io: CommandIo, setExitCode: (code: number) => void): void {
  const command = program
    .command('doctor')
    .description('from kubeconfig to RBAC, say what is wrong and the next command to type')
    .argument('[membership]', 'the one to look at; all, in one line for each check, when absent')
    .option('-n, --namespace <NAMESPACE>', "where streams are to be opened (default: that of kubectl's context)")
    .option('--bundle <FILE>', 'also write an archive (.tar.gz) for a bug report, without tokens, secrets and payloads')
    .addOption(outputOption())
    .addHelpText('after', HELP)
    .action(async (wanted: string | undefined, options: DoctorOptions) => {
      const { bundle } = options;
      // Before anybody waits for the checks.
      if (bundle !== undefined && existsSync(bundle)) {
        throw new UsageError(`--bundle ${bundle}: this file is there already; name another one`);
      }
      const loadSettings = (): ReturnType<typeof settingsOf> => settingsOf(command, io);
      assertFlags(loadSettings);
      // Loaded here: the other commands answer sooner without it.
      const [{ Context }, { CHECKS }, { runChecks }, { lineOf, reportOf, summaryOf }] = await Promise.all([
        import('./doctor/context.js'),
        import('./doctor/checks.js'),
        import('./doctor/run-checks.js'),
        import('./doctor/report.js'),
      ]);
      const { namespace } = options;
      const context = new Context({
        io,
        loadSettings,
        ...(wanted === undefined ? {} : { wanted }),
        ...(namespace === undefined ? {} : { namespace }),
      });
      const json = options.output === 'json';
      const colour = io.outIsTty && !io.env['NO_COLOR'];
      const titleWidth = Math.max(...CHECKS.map(({ title }) => title.length));
      const progress = new Progress(io, 'checking');
      const began = io.clock.monotonic();
      try {
        const outcomes = await runChecks(CHECKS, {
          context,
          clock: io.clock,
          typed: placedBy(command),
          onOutcome: (outcome) => {
            progress.clear();
            if (!json) io.out(lineOf(outcome, { titleWidth, colour }));
          },
        });
        const ms = io.clock.monotonic() - began;
        const report = reportOf(outcomes, { version: io.version, now: io.clock.now(), ms, membership: wanted });
        progress.clear();
        io.out(json ? `${JSON.stringify(report, null, 2)}\n` : summaryOf(report));
        setExitCode(report.healthy ? 0 : 1);
        if (bundle !== undefined) {
          const { writeBundle } = await import('./doctor/bundle.js');
          await writeBundle(bundle, { context, report });
          progress.clear();
          io.err(`wrote ${bundle}: look into it before you send it (tar -xOzf ${bundle} | less)\n`);
        }
      } finally {
        progress.end();
        await context.close();
      }
    });
  addSettingOptions(command, 'all');
}

/** What was said here about where things are has to be said to the next command of ours too. */
function placedBy(command: Command): (next: string) => string {
  const { stateDir, config } = command.opts<{ stateDir?: string; config?: string }>();
  const flags = [
    ...(config === undefined ? [] : [`--config ${shellArgument(config)}`]),
    ...(stateDir === undefined ? [] : [`--state-dir ${shellArgument(stateDir)}`]),
  ].join(' ');
  if (flags === '') return (next) => next;
  return (next) =>
    next.replace(/\bconnect-gateway-proxy (?:service install|sessions kill|(?!service\b)[a-z]+)\b/g, `$& ${flags}`);
}

/** A flag that is wrong is this command line's fault; a file or a variable that is wrong is what is to be found out. */
function assertFlags(loadSettings: () => unknown): void {
  try {
    loadSettings();
  } catch (error) {
    if (error instanceof UsageError && error.message.startsWith('--')) throw error;
  }
}
