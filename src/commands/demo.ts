import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { createLogger } from '../base/log.js';
import { shellQuoted } from '../base/shell-quoted.js';
import type { RunningDaemon } from '../daemon/daemon.js';
import type { Settings } from '../daemon/settings.js';
import type { CommandIo } from './io.js';
import { serve } from './serve.js';
import { addSettingOptions, settingsOf } from './settings-options.js';

/** Away from the real daemon's, so that both can run on one machine. */
const DEMO_PORTS = { hub: 17_443, memberships: '17500-17599' };

export function addDemo(program: Command, io: CommandIo, setExitCode: (code: number) => void): void {
  const command = program
    .command('demo')
    .description('the same daemon on the built-in emulator: no Google account needed')
    .action(async () => setExitCode(await runDemo(command, io)));
  addSettingOptions(command, 'all');
}

async function runDemo(command: Command, io: CommandIo): Promise<number> {
  const fallbacks = {
    projects: ['demo-project'],
    stateDir: join(io.paths.data, 'demo'),
    'listen.port': DEMO_PORTS.hub,
    'listen.membershipPorts': DEMO_PORTS.memberships,
    'log.level': io.errIsTty ? 'warn' : 'info',
  };
  const chosen = settingsOf(command, io, fallbacks);
  const workDir = mkdtempSync(join(tmpdir(), 'connect-gateway-proxy-demo-'));
  const log = createLogger({ level: chosen.log.level, format: chosen.log.format, write: io.err });
  // Loaded here, so that the other commands need not wait for it.
  const { startDemoFleet } = await import('../emulator/demo-fleet.js');
  const emulator = await startDemoFleet({ workDir, clock: io.clock, log: log.child({ part: 'emulator' }) });
  const caFile = join(workDir, 'ca.pem');
  const tokenFile = join(workDir, 'token');
  writeFileSync(caFile, emulator.caCertificate, { mode: 0o600 });
  writeFileSync(tokenFile, emulator.accessToken, { mode: 0o600 });
  const emulated = {
    ...fallbacks,
    identities: { default: { source: 'token-file', tokenFile } },
    endpoints: {
      gkehub: emulator.url,
      connectgateway: emulator.url,
      iamcredentials: emulator.url,
      cloudresourcemanager: emulator.url,
      caFile,
    },
  };
  const loadSettings = (): Settings => settingsOf(command, io, emulated);
  return await serve(io, loadSettings(), {
    loadSettings,
    onReady: (daemon) => io.out(welcome(daemon)),
    onStopped: async () => {
      await emulator.close();
      rmSync(workDir, { recursive: true, force: true });
    },
  });
}

function welcome(daemon: RunningDaemon): string {
  const memberships = daemon.memberships();
  const width = Math.max(...memberships.map(({ alias }) => alias.length));
  const rows = memberships.map(
    ({ alias, location, kind, url = 'not served' }) =>
      `  ${alias.padEnd(width)}  ${location.padEnd(12)}  ${kind.padEnd(8)}  ${url}`,
  );
  const [first] = memberships;
  return `A fleet of ${memberships.length} emulated clusters is served (hub: ${daemon.hubUrl}):

${rows.join('\n')}

In another terminal, with any kubectl and no auth plugin:

  export KUBECONFIG=${shellQuoted(daemon.kubeconfigFile)}
  kubectl config get-contexts
  kubectl --context ${first?.alias ?? 'prod'} get pods -o wide
  kubectl --context ${first?.alias ?? 'prod'} exec -it box -- sh
  kubectl --context ${first?.alias ?? 'prod'} logs -f deployment/hello
  kubectl --context ${first?.alias ?? 'prod'} port-forward service/hello 8080:80

The emulator runs the pods' commands as processes of this machine, with your rights. Only this machine can reach it,
with the random credential in that kubeconfig. Ctrl-C stops it.
`;
}
