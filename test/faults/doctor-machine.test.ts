import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import * as net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse, stringify } from 'yaml';
import { systemClock } from '../../src/base/clock.js';
import type { DoctorReport } from '../../src/commands/doctor/report.js';
import { DoctorScene, type Machine, type MachineOptions, writeProgram } from '../support/doctor-scene.js';

interface Expected {
  readonly first: string;
  readonly status?: 'fail' | 'warn';
  readonly message: RegExp;
  readonly next: RegExp;
}

let scene: DoctorScene;
t.before(async () => {
  scene = await DoctorScene.open();
});
t.teardown(() => scene.close());

function assertFirst(t: Test, report: DoctorReport, { first, status = 'fail', message, next }: Expected): void {
  t.match(report.first, { id: first, status, message, next });
  t.equal(report.healthy, status === 'warn');
}

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
        assertFirst(t, report, { first: 'state', message: /secret is damaged/, next: /^rm .*secret$/ });
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
      message: /v1\.27\.16 .* more than 2 minor versions away from datacenter is v1\.36\.2/,
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

t.test('quota: all streams are held, and doctor takes none', async (t) => {
  const machine = await scene.machine(t, { settings: { streams: { limit: 1, queue: '1s' } }, clock: systemClock });
  const { DaemonClient } = await import('../support/daemon-client.js');
  const client = new DaemonClient(machine.daemon?.kubeconfigFile ?? '', 'prod');
  const exec = client.webSocket('/api/v1/namespaces/default/pods/box/exec?command=sleep&command=100&stdout=true');
  await once(exec, 'open');
  const report = await machine.report(['prod']);
  assertFirst(t, report, {
    first: 'quota',
    message: /1 of 1 streams of project 123456789012 are in use/,
    next: /^connect-gateway-proxy sessions kill \S+$/,
  });
  t.match(
    report.checks.find(({ id }) => id === 'exec'),
    { status: 'skip', message: /needs a free stream; see quota/ },
  );
  const closed = once(exec, 'close');
  exec.terminate();
  await closed;
});

t.test('quota: Google refuses requests', async (t) => {
  const machine = await scene.machine(t, { daemon: false });
  const id = scene.emulator.faults.add({ answer: 'request-quota' });
  const report = await machine.report(['--config', machine.config, 'prod']);
  scene.emulator.faults.remove(id);
  const failed = report.checks.filter(({ status }) => status === 'fail').map(({ id }) => id);
  t.strictSame(failed, ['daemon', 'quota', 'round-trip']);
});

t.test('port: another program has it', async (t) => {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const machine = await scene.machine(t, { daemon: false, settings: { listen: { port } } });
  const report = await machine.report(['--config', machine.config]);
  assertFirst(t, report, {
    first: 'port',
    message: new RegExp(`127\\.0\\.0\\.1:${port} is taken by `),
    next: new RegExp(`^connect-gateway-proxy run --config \\S+ --listen-port ${port + 1}$`),
  });
  t.match(report.checks.find(({ id }) => id === 'daemon')?.message, /^not checked: needs port/);
});

t.test('configuration: nothing to serve', async (t) => {
  const machine = await scene.machine(t, { daemon: false });
  rmSync(machine.config);
  assertFirst(t, await machine.report(), {
    first: 'configuration',
    message: /nothing to serve/,
    next: /^connect-gateway-proxy run --projects PROJECT$/,
  });
});

/** Set-ups with which a daemon starts, and serves nothing well. */
const BROKEN: readonly (readonly [
  string,
  (at: DoctorScene, t: Test) => Promise<MachineOptions> | MachineOptions,
  Expected,
])[] = [
  [
    'environment: credentials are named that are not there',
    () => ({
      env: { GOOGLE_APPLICATION_CREDENTIALS: '/nowhere/key.json' },
      settings: { identities: { default: { source: 'adc' } } },
    }),
    {
      first: 'environment',
      message: /GOOGLE_APPLICATION_CREDENTIALS of the running daemon names \/nowhere\/key\.json/,
      next: /./,
    },
  ],
  [
    'identity: gcloud has no login',
    (_at, t) => {
      const folder = t.testdir({});
      writeProgram(
        join(folder, 'gcloud'),
        'echo "ERROR: (gcloud.config.config-helper) You do not currently have an active account selected." >&2; exit 1',
      );
      return { env: { PATH: `${folder}:/usr/bin:/bin` }, settings: { identities: { default: { source: 'gcloud' } } } };
    },
    { first: 'identity', message: /^default: gcloud has no login$/, next: /^gcloud auth login$/ },
  ],
  [
    'proxy variables: no URL',
    () => ({ env: { HTTPS_PROXY: 'ftp://proxy' }, settings: elsewhere() }),
    {
      first: 'proxy',
      message: /HTTPS_PROXY is set to something that is not/,
      next: /^export HTTPS_PROXY=http:\/\/HOST:PORT$/,
    },
  ],
  [
    'proxy variables: nobody answers there',
    () => ({ env: { https_proxy: 'http://user:canary-password@127.0.0.1:1' }, settings: elsewhere() }),
    {
      first: 'proxy',
      message: /the proxy 127\.0\.0\.1:1 \(https_proxy\) does not lead to .*ECONNREFUSED/,
      next: /^unset https_proxy$/,
    },
  ],
  [
    'proxy variables: the proxy refuses',
    async (_at, t) => {
      const proxy = createServer();
      proxy.on('connect', (_request, socket) => socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'));
      proxy.listen(0, '127.0.0.1');
      await once(proxy, 'listening');
      t.teardown(() => proxy.close());
      const { port } = proxy.address() as net.AddressInfo;
      return { env: { HTTPS_PROXY: `http://127.0.0.1:${port}` }, settings: elsewhere() };
    },
    { first: 'proxy', message: /refused a tunnel .* with HTTP 407/, next: /^curl -v -x http:\/\/127/ },
  ],
  [
    'DNS: a name that does not resolve',
    () => ({ settings: elsewhere() }),
    {
      first: 'endpoints',
      message: /the name of gkehub\.invalid, .* does not resolve/,
      next: /^nslookup gkehub\.invalid$/,
    },
  ],
  [
    'TLS: a certificate that nobody trusts',
    ({ emulator: { url } }) => ({
      settings: { endpoints: { gkehub: url, connectgateway: url, cloudresourcemanager: url } },
    }),
    {
      first: 'endpoints',
      message: /is not trusted.*(?:UNABLE_TO|SELF_SIGNED).*signed by connect-gateway-proxy emulator/,
      next: /--endpoints-ca-file FILE$/,
    },
  ],
  [
    'endpoints: nobody listens',
    () => ({
      settings: {
        endpoints: {
          gkehub: 'https://127.0.0.1:1',
          connectgateway: 'https://127.0.0.1:1',
          cloudresourcemanager: 'https://127.0.0.1:1',
        },
      },
    }),
    {
      first: 'endpoints',
      message: /127\.0\.0\.1:1 cannot be reached \(ECONNREFUSED\)/,
      next: /^curl -v https:\/\/127/,
    },
  ],
  [
    'identity: a token file that is not there',
    () => ({ settings: { identities: { default: { source: 'token-file', tokenFile: '/nowhere/token' } } } }),
    {
      first: 'identity',
      message: /default: cannot read the token file \/nowhere\/token/,
      next: /print-access-token > \/nowhere\/token$/,
    },
  ],
];

/** With hosts that are not this machine, which alone are reached through a proxy. */
function elsewhere(): Record<string, unknown> {
  const endpoints = {
    gkehub: 'https://gkehub.invalid',
    connectgateway: 'https://gateway.invalid',
    cloudresourcemanager: 'https://crm.invalid',
  };
  return { endpoints };
}

for (const [title, options, expected] of BROKEN) {
  t.test(title, async (t) => {
    const machine: Machine = await scene.machine(t, await options(scene, t));
    const { code, out } = await machine.doctor(['-o', 'json']);
    assertFirst(t, JSON.parse(out) as DoctorReport, expected);
    t.equal(code, 1);
    t.notMatch(out, /canary-password/);
  });
}

t.test('identity: a chain, by its failing hop', async (t) => {
  const key = scene.emulator.issueServiceAccountKey('robot@demo-project.iam.gserviceaccount.com');
  const machine = await scene.machine(t, { daemon: false });
  const keyFile = join(machine.folder, 'key.json');
  writeFileSync(keyFile, JSON.stringify(key));
  const identities = {
    default: { source: 'key-file', keyFile, impersonate: ['deployer@demo-project.iam.gserviceaccount.com'] },
  };
  writeFileSync(
    machine.config,
    JSON.stringify({ ...(parse(readFileSync(machine.config, 'utf8')) as object), identities }),
  );
  const plant = scene.emulator.faults.add({ deniedPermissions: ['iam.serviceAccounts.getAccessToken'] });
  const report = await machine.report(['--config', machine.config]);
  scene.emulator.faults.remove(plant);
  t.match(
    report.checks.find(({ id }) => id === 'identity'),
    {
      status: 'fail',
      code: 'impersonation-denied',
      message: /default: hop 1 of 1 of the impersonation fails: robot@\S+ may not become deployer@/,
      next: /^gcloud iam service-accounts add-iam-policy-binding deployer@\S+ --member=serviceAccount:robot@/,
    },
  );
  const well = await machine.report(['--config', machine.config]);
  t.match(
    well.checks.find(({ id }) => id === 'identity'),
    { status: 'ok', message: /deployer@\S+ \(through robot@/ },
  );
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
