import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse, stringify } from 'yaml';
import { systemClock } from '../../src/base/clock.js';
import { DoctorScene, writeProgram } from '../support/doctor-scene.js';
import { assertFirst } from '../support/planted-fault.js';

let scene: DoctorScene;
t.before(async () => {
  scene = await DoctorScene.open();
});
t.teardown(() => scene.close());

/** What stands on the machine, spoilt for one look. */
async function spoilt(path: string, change: (text: string) => string, look: () => Promise<void>): Promise<void> {
  const before = readFileSync(path, 'utf8');
  writeFileSync(path, change(before));
  try {
    await look();
  } finally {
    writeFileSync(path, before);
  }
}

t.test('a daemon that is well, on a machine that is not', async (t) => {
  const machine = await scene.machine(t);
  const { stateDir, env } = machine;
  const ownFile = join(stateDir, 'kubeconfig');
  const edit = (change: (config: Kubeconfig) => void) => (text: string) => {
    const config = parse(text) as Kubeconfig;
    change(config);
    return stringify(config);
  };

  await t.test('configuration: a key that is none, with its line and the nearest one', async (t) => {
    await spoilt(
      machine.config,
      (text) => text.replace('"projects"', '"projcts"'),
      async () => {
        const report = await machine.report(['--config', machine.config]);
        assertFirst(t, report, {
          first: 'configuration',
          message: /config\.yaml:2: projcts is no setting; did you mean projects\?/,
          next: /vi\} \+2 .*config\.yaml$/,
        });
        t.ok(report.checks.slice(1).every(({ message }) => message === 'not checked: needs configuration'));
      },
    );
  });

  await t.test('configuration: a variable that is no setting', async (t) => {
    const report = await machine.report([], { env: { ...env, CGP_LISTEN_PROT: '1' } });
    assertFirst(t, report, {
      first: 'configuration',
      message: /CGP_LISTEN_PROT is no setting; did you mean CGP_LISTEN_PORT/,
      next: /^unset CGP_LISTEN_PROT$/,
    });
  });

  await t.test('a flag that is wrong is bad input', async (t) => {
    t.match(await machine.doctor(['--listen-port', 'many']), { code: 2, out: '', err: /--listen-port.*whole number/ });
    t.match(await machine.doctor(['--bundle', machine.config]), { code: 2, err: /there already/ });
  });

  await t.test('state folder: others may read a secret', async (t) => {
    chmodSync(join(stateDir, 'secret'), 0o644);
    const report = await machine.report();
    chmodSync(join(stateDir, 'secret'), 0o600);
    assertFirst(t, report, {
      first: 'state',
      message: /others of this machine may read .*secret \(mode 644\)/,
      next: /^chmod 600 .*secret$/,
    });
    t.equal(report.counts.skip, 0, 'all else is looked at');
  });

  await t.test('state folder: a secret that is damaged', async (t) => {
    await spoilt(
      join(stateDir, 'secret'),
      () => 'no hex',
      async () => {
        const report = await machine.report();
        assertFirst(t, report, { first: 'state', message: /secret is damaged(?!.*also)/, next: /^rm .*secret$/ });
      },
    );
  });

  await t.test(
    'kubeconfig: server, authority and token that are not the daemon’s, and a context that is missing',
    async (t) => {
      const cases: [(config: Kubeconfig) => void, RegExp][] = [
        [
          ({ clusters: [cluster] }) => {
            if (cluster !== undefined) cluster.cluster.server = 'https://127.0.0.1:1';
          },
          /leads to https:\/\/127\.0\.0\.1:1, and the daemon serves \S+ at https/,
        ],
        [
          ({ clusters: [cluster] }) => {
            const other = Buffer.from(scene.emulator.caCertificate).toString('base64');
            if (cluster !== undefined) cluster.cluster['certificate-authority-data'] = other;
          },
          /trusts another certificate authority/,
        ],
        [
          ({ users: [user] }) => {
            if (user !== undefined) user.user.token = 'of-another-installation';
          },
          /holds another token/,
        ],
        [
          (config) => {
            config.contexts.length = 0;
          },
          /has no context for/,
        ],
      ];
      for (const [change, message] of cases) {
        await spoilt(ownFile, edit(change), async () => {
          assertFirst(t, await machine.report(), {
            first: 'kubeconfig',
            message,
            next: /^connect-gateway-proxy kubeconfig$/,
          });
        });
      }
    },
  );

  await t.test('kubeconfig: gcloud has made its own entry the current one', async (t) => {
    const gcloud = join(machine.folder, 'gcloud-config');
    writeFileSync(gcloud, gcloudKubeconfig('connectgateway_demo-project_us-central1_prod'));
    const merged = `${gcloud}:${ownFile}`;
    assertFirst(t, await machine.report([], { env: { ...env, KUBECONFIG: merged } }), {
      first: 'kubeconfig',
      message:
        /current context connectgateway_demo-project_us-central1_prod .*is gcloud's.*gke-gcloud-auth-plugin, past the daemon/,
      next: /^kubectl config use-context prod$/,
    });
    assertFirst(t, await machine.report([], { env: { ...env, KUBECONFIG: gcloud } }), {
      first: 'kubeconfig',
      message: /is gcloud's/,
      next: /^connect-gateway-proxy kubeconfig --merge --set-current-context$/,
    });
  });

  await t.test('kubeconfig: an entry of gcloud’s of the same name stands before ours', async (t) => {
    const shadow = join(machine.folder, 'shadow');
    writeFileSync(shadow, gcloudKubeconfig('prod'));
    assertFirst(t, await machine.report(['prod'], { env: { ...env, KUBECONFIG: `${shadow}:${ownFile}` } }), {
      first: 'kubeconfig',
      message: /the context prod of .*kubeconfig is hidden by one of the same name in .*shadow/,
      next: /--context-template 'fleet-\{alias\}'$/,
    });
  });

  await t.test('kubeconfig: kubectl looks elsewhere', async (t) => {
    const report = await machine.report([], { env: { ...env, KUBECONFIG: join(machine.folder, 'nowhere') } });
    assertFirst(t, report, {
      first: 'kubeconfig',
      status: 'warn',
      message: /no context leads to the daemon/,
      next: /^export KUBECONFIG=\$\(connect-gateway-proxy kubeconfig\)$/,
    });
  });

  await t.test('environment: the shell has what the daemon has not', async (t) => {
    const report = await machine.report([], { env: { ...env, CLOUDSDK_CORE_ACCOUNT: 'other@example.com' } });
    assertFirst(t, report, {
      first: 'environment',
      status: 'warn',
      message: /CLOUDSDK_CORE_ACCOUNT is not set there and other@example\.com here/,
      next: /connect-gateway-proxy run$/,
    });
  });

  await t.test('environment: the service starts what is gone', async (t) => {
    const start = {
      program: ['/nowhere/node'],
      args: ['run'],
      environment: { PATH: '/nowhere/bin' },
      workingFolder: '/',
    };
    const definition = { start, sockets: [], logFile: '', recordFile: '', environmentFile: '' };
    const record = join(machine.folder, 'service.json');
    writeFileSync(record, JSON.stringify({ manager: 'cron', version: '0.0.0-older', stateDir, definition }));
    const report = await machine.report();
    rmSync(record);
    assertFirst(t, report, {
      first: 'environment',
      message: /the service starts \/nowhere\/node, which is gone; also: .*version 0\.0\.0-older.*\/nowhere\/bin/,
      next: /^connect-gateway-proxy service install$/,
    });
  });

  await t.test('clock: an hour ahead, an hour behind, and a minute', async (t) => {
    const hour = 60 * 60_000;
    for (const [skew, status, message] of [
      [hour, 'fail', /clock is 1h ahead of Google's|clock is 59m\d+s ahead/],
      [-hour, 'fail', /clock is (?:1h|59m\d+s|1h0m) behind Google's/],
      [60_000, 'warn', /clock is (?:1m|59s|1m\ds) ahead/],
    ] as const) {
      const clock = { ...systemClock, now: () => systemClock.now() + skew };
      const report = await machine.report([], { clock });
      assertFirst(t, report, { first: 'clock', status, message, next: /timedatectl|sntp|w32tm/ });
      if (status === 'fail') {
        t.match(report.checks.find(({ id }) => id === 'identity')?.message, /^not checked: needs clock/);
      }
    }
  });

  await t.test('membership: one that is not there', async (t) => {
    assertFirst(t, await machine.report(['prd']), {
      first: 'membership',
      message: /there is no membership "prd": did you mean prod\?/,
      next: /^connect-gateway-proxy doctor prod$/,
    });
  });

  await t.test('kubectl: one that cannot run, one that is old, and none', async (t) => {
    const path = join(machine.folder, 'bin', 'kubectl');
    const before = readFileSync(path, 'utf8');
    t.teardown(() => writeProgram(path, before));
    writeProgram(path, 'exit 1');
    assertFirst(t, await machine.report(), {
      first: 'kubectl',
      status: 'warn',
      message: /bin\/kubectl does not say its version/,
      next: /kubectl version --client$/,
    });
    writeProgram(path, `echo '{"clientVersion":{"gitVersion":"v1.27.16"}}'`);
    assertFirst(t, await machine.report(), {
      first: 'kubectl',
      status: 'warn',
      message: /v1\.27\.16 .* more than 2 minor versions from datacenter's v1\.36\.2 and 2 more/,
      next: /gcloud components update kubectl/,
    });
    const none = await machine.report([], { env: { ...env, PATH: '/nowhere' } });
    t.match(
      none.checks.find(({ id }) => id === 'kubectl'),
      { status: 'ok', message: /none on PATH/ },
    );
  });

  await t.test('rbac: the identity may look and no more', async (t) => {
    machine.writeToken(scene.emulator.issueToken({ user: 'viewer@example.com' }));
    // The daemon looks at the file again within a tenth of a second of its clock.
    const report = await machine.report(['edge-store', '--namespace', 'web']);
    machine.writeToken(scene.emulator.accessToken);
    assertFirst(t, report, {
      first: 'rbac',
      message: /may not get pods\/exec, create pods\/exec, .*create pods\/portforward in namespace web/,
      next: /^connect-gateway-proxy rbac --user \S+ --namespace web --streams-only \| kubectl --context edge-store apply -f -$/,
    });
  });

  await t.test('daemon: killed, silent, of another version, and stopped', async (t) => {
    const record = join(stateDir, 'daemon.json');
    const changed = (changes: object) => (text: string) => JSON.stringify({ ...JSON.parse(text), ...changes });
    const gone = spawn('true');
    await once(gone, 'close');
    const nobody = 'https://127.0.0.1:1';
    await spoilt(record, changed({ pid: gone.pid, hubUrl: nobody }), async () => {
      assertFirst(t, await machine.report(), {
        first: 'daemon',
        message: /ended without a farewell/,
        next: /^connect-gateway-proxy run$/,
      });
    });
    await spoilt(record, changed({ hubUrl: nobody }), async () => {
      assertFirst(t, await machine.report(), {
        first: 'daemon',
        message: /lives, and nobody answers at https:\/\/127\.0\.0\.1:1/,
        next: /^kill \d+$/,
      });
    });
    const older = await machine.report(['--config', machine.config], { version: '0.9.0' });
    assertFirst(t, older, {
      first: 'daemon',
      status: 'warn',
      message: /the daemon that runs is version 0\.0\.0-test, this command is 0\.9\.0/,
      next: /^connect-gateway-proxy stop --config \S+ && connect-gateway-proxy run --config \S+$/,
    });
    await machine.daemon?.drain('the test');
    const report = await machine.report(['--config', machine.config]);
    assertFirst(t, report, {
      first: 'daemon',
      message: /no daemon runs/,
      next: /^connect-gateway-proxy run --config \S+$/,
    });
    const rest = report.checks.filter(({ id }) => !['daemon', 'kubeconfig', 'quota'].includes(id));
    for (const { id, status, message } of rest) t.equal(status, 'ok', `${id} without a daemon: ${message}`);
    t.match(report.checks.find(({ id }) => id === 'round-trip')?.message, /straight to the gateway/);
  });
});

interface Kubeconfig {
  clusters: { cluster: { server: string; 'certificate-authority-data': string } }[];
  users: { user: { token: string } }[];
  contexts: unknown[];
}

function gcloudKubeconfig(name: string): string {
  const server =
    'https://us-central1-connectgateway.googleapis.com/v1/projects/123456789012/locations/us-central1/gkeMemberships/prod';
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
    users: [{ name, user: { exec: { command: 'gke-gcloud-auth-plugin' } } }],
  });
}
