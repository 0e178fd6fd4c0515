import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { UsageError } from '../../../src/base/errors.js';
import { formatDuration, parseDuration } from '../../../src/daemon/duration.js';
import { loadSettings, type Settings, type SettingsSources } from '../../../src/daemon/settings.js';
import { SETTING_KEYS } from '../../../src/daemon/settings-keys.js';

function load(t: Test, given: Partial<SettingsSources> & { yaml?: string } = {}): Settings {
  const folder = t.testdir({});
  const config = join(folder, 'config');
  mkdirSync(config);
  if (given.yaml !== undefined) writeFileSync(join(config, 'config.yaml'), given.yaml);
  const { yaml: _yaml, ...sources } = given;
  return loadSettings({ flags: {}, env: {}, isTty: false, paths: { config, data: join(folder, 'data') }, ...sources });
}

function refused(t: Test, given: Parameters<typeof load>[1], message: RegExp): void {
  try {
    load(t, given);
    t.fail('it was accepted');
  } catch (error) {
    t.ok(error instanceof UsageError, String(error));
    t.match((error as Error).message, message);
  }
}

t.test('without any configuration the documented defaults hold', async (t) => {
  const settings = load(t);
  t.match(settings, {
    projects: [],
    listen: { address: '127.0.0.1', port: 7443, membershipPorts: { first: 7500, last: 7999 }, http: 'off' },
    cutoff: { assume: 1_200_000, rotateBefore: 120_000 },
    streams: { limit: 10, queue: 30_000 },
    requests: { perMinute: 2400 },
    identities: { default: { source: 'auto' } },
    log: { level: 'info', format: 'json' },
    exec: { onCutoff: 'reopen', linger: 0, warnBefore: 0 },
  });
  t.equal(settings.kubeconfigFile, join(settings.stateDir, 'kubeconfig'));
  t.equal(settings.endpoints.connectgateway, undefined);
  t.ok(Object.isFrozen(settings.listen));
});

t.test('a flag wins over the environment, and that over the file', async (t) => {
  const yaml = 'listen: { port: 1001, address: 127.0.0.3 }\nrequests: { perMinute: 5 }\nprojects: [one]\n';
  const settings = load(t, {
    yaml,
    env: { CGP_LISTEN_PORT: '1002', CGP_REQUESTS_PER_MINUTE: '6', CGP_PROJECTS: 'two, three' },
    flags: { 'listen.port': '1003' },
  });
  t.equal(settings.listen.port, 1003);
  t.equal(settings.requests.perMinute, 6);
  t.equal(settings.listen.address, '127.0.0.3');
  t.strictSame(settings.projects, ['two', 'three']);
});

t.test('structured options can be given in the environment', async (t) => {
  const settings = load(t, { env: { CGP_IDENTITIES: '{default: {source: token-file, tokenFile: /run/token}}' } });
  t.match(settings.identities, { default: { source: 'token-file', tokenFile: '/run/token' } });
});

t.test('paths of the file are relative to it', async (t) => {
  const settings = load(t, { yaml: 'stateDir: state\nidentities: {ci: {source: token-file, tokenFile: token}}\n' });
  const folder = join(settings.configFile ?? '', '..');
  t.equal(settings.stateDir, join(folder, 'state'));
  t.equal(settings.identities['ci']?.tokenFile, join(folder, 'token'));
});

t.test('mistakes are told with their place and the way out', async (t) => {
  refused(
    t,
    { yaml: 'projects: [a]\nlisten:\n  prot: 1\n' },
    /config\.yaml:3: listen\.prot is no setting; did you mean port\?/,
  );
  refused(t, { yaml: 'project: [a]\n' }, /config\.yaml:1: project is no setting; did you mean projects\?/);
  refused(t, { yaml: 'a: [b\n' }, /config\.yaml:\d: this is not valid YAML/);
  refused(t, { yaml: 'just text\n' }, /config\.yaml:1: expected settings/);
  refused(t, { env: { CGP_LISTEN_PROT: '1' } }, /CGP_LISTEN_PROT is no setting; did you mean CGP_LISTEN_PORT\?/);
  refused(t, { flags: { 'listen.port': 'x' } }, /--listen-port: listen\.port: expected a whole number from 0 to 65535/);
  refused(t, { flags: { 'listen.port': '70000' } }, /--listen-port: .*65535/);
  refused(t, { env: { CGP_LISTEN_ADDRESS: '0.0.0.0' } }, /CGP_LISTEN_ADDRESS: .*127\.0\.0\.1/);
  refused(t, { yaml: 'cutoff: {assume: 20}\n' }, /config\.yaml:1: cutoff\.assume: expected a duration like 20m/);
  refused(t, { yaml: 'listen: {http: on}\n' }, /config\.yaml:1: listen\.http: expected off or a port/);
  refused(t, { flags: { 'listen.http': '7443' } }, /--listen-http: listen\.http and listen\.port cannot both be 7443/);
  refused(t, { flags: { 'listen.membershipPorts': '9-7' } }, /--membership-ports: .*7500-7999/);
  refused(t, { flags: { 'endpoints.gkehub': 'http://example.com' } }, /expected an https:\/\/ URL/);
  refused(t, { flags: { memberships: '[{name: prod}]' } }, /--memberships: .*projects\/PROJECT/);
  refused(
    t,
    { yaml: 'memberships:\n- name: projects/1/locations/l/memberships/m\n  identity: nobody\n' },
    /config\.yaml:3: there is no identity "nobody"/,
  );
  refused(
    t,
    { yaml: 'identities:\n  ci: {source: token-file}\n' },
    /config\.yaml:2: .*source token-file needs tokenFile/,
  );
  refused(
    t,
    { yaml: 'memberships:\n- name: projects/1/locations/l/memberships/m\n  policy: readonly\n' },
    /config\.yaml:3: .*expected one of full, no-exec, read-only/,
  );
  refused(
    t,
    {
      flags: {
        memberships:
          '[{name: projects/1/locations/l/memberships/m, port: 7501}, {name: projects/1/locations/l/memberships/n, port: 7501}]',
      },
    },
    /the port 7501 is already used/,
  );
  refused(t, { configFile: '/no/such/file.yaml' }, /cannot read the config file \/no\/such\/file\.yaml: ENOENT/);
});

t.test('durations are read and written as people do', async (t) => {
  t.equal(parseDuration('1h30m'), 5_400_000);
  t.equal(parseDuration('500ms'), 500);
  for (const wrong of ['', '20', 'm', '1.5h', '-1s', '20 m']) t.equal(parseDuration(wrong), undefined, wrong);
  t.strictSame([0, 61_000, 3_600_000, 5_400_000].map(formatDuration), ['0s', '1m1s', '1h', '1h30m']);
});

t.test('docs/configuration.md names every key, flag, variable and default', async (t) => {
  const page = readFileSync('docs/configuration.md', 'utf8');
  for (const { path, flag, env, fallback } of SETTING_KEYS) {
    const row = page.split('\n').find((line) => line.startsWith(`| \`${path}\` |`)) ?? '';
    for (const part of [flag, env, fallback]) t.ok(row.includes(part), `${path}: ${part}`);
  }
});
