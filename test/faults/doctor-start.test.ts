import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import * as net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { systemClock } from '../../src/base/clock.js';
import type { DoctorReport } from '../../src/commands/doctor/report.js';
import { DaemonClient } from '../support/daemon-client.js';
import { DoctorScene, type Machine, type MachineOptions, writeProgram } from '../support/doctor-scene.js';
import { assertFirst, type ExpectedFirst } from '../support/planted-fault.js';

let scene: DoctorScene;
t.before(async () => {
  scene = await DoctorScene.open();
});
t.teardown(() => scene.close());

t.test('quota: all streams are held, and doctor takes none', async (t) => {
  const machine = await scene.machine(t, { settings: { streams: { limit: 1, queue: '1s' } }, clock: systemClock });
  const client = new DaemonClient(machine.daemon?.kubeconfigFile ?? '', 'prod');
  const exec = client.webSocket('/api/v1/namespaces/default/pods/box/exec?command=sleep&command=100&stdout=true');
  await once(exec, 'open');
  const report = await machine.report(['prod']);
  assertFirst(t, report, {
    first: 'quota',
    message: /1 of 1 streams of project demo-project are in use/,
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

t.test('port: another program has a membership’s', async (t) => {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const memberships = [{ name: 'projects/demo-project/locations/us-central1/memberships/prod', port }];
  const machine = await scene.machine(t, { settings: { memberships } });
  const report = await machine.report();
  assertFirst(t, report, {
    first: 'port',
    message: new RegExp(`^prod has no port of its own: port 127\\.0\\.0\\.1:${port} is taken`),
    next: /--membership-ports/,
  });
  t.match(
    report.checks.find(({ id }) => id === 'round-trip'),
    { status: 'ok' },
    'the hub serves it all the same',
  );
});

t.test(
  'configuration: an authority of Google’s that is not there, and a service whose record is damaged',
  async (t) => {
    const machine = await scene.machine(t, { daemon: false });
    const settings = parse(readFileSync(machine.config, 'utf8')) as { endpoints: { caFile: string } };
    writeFileSync(join(machine.folder, 'service.json'), '{');
    const damaged = await machine.report(['--config', machine.config]);
    t.match(
      damaged.checks.find(({ id }) => id === 'environment'),
      { status: 'fail', message: /service\.json is damaged/ },
    );
    settings.endpoints.caFile = '/nowhere/ca.pem';
    writeFileSync(machine.config, JSON.stringify(settings));
    assertFirst(t, await machine.report(['--config', machine.config]), {
      first: 'configuration',
      message: /endpoints\.caFile: cannot read \/nowhere\/ca\.pem/,
      next: /^ls -l \/nowhere\/ca\.pem$/,
    });
    assertFirst(t, await machine.report(['--config', '/nowhere/config.yaml']), {
      first: 'configuration',
      message: /cannot read the config file \/nowhere\/config\.yaml: ENOENT/,
      next: /^ls -l \/nowhere\/config\.yaml$/,
    });
  },
);

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
  ExpectedFirst,
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

t.test('proxy variables: no URL, with which no daemon starts', async (t) => {
  const machine = await scene.machine(t, {
    daemon: false,
    env: { HTTPS_PROXY: 'ftp://user:canary-password@proxy' },
    settings: elsewhere(),
  });
  const { out } = await machine.doctor(['-o', 'json', '--config', machine.config]);
  const { checks } = JSON.parse(out) as DoctorReport;
  t.match(
    checks.find(({ id }) => id === 'proxy'),
    {
      status: 'fail',
      message: /HTTPS_PROXY is set to something that is not/,
      next: /^export HTTPS_PROXY=http:\/\/HOST:PORT$/,
    },
  );
  t.notMatch(out, /canary-password/);
});

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
