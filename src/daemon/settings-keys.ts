/** One option under its three names. The structured ones are YAML or JSON text as flag and environment variable. */
export interface SettingKey {
  /** In the config file, e.g. `listen.port`. */
  readonly path: string;
  readonly flag: string;
  readonly env: string;
  /** What stands behind the flag in `--help`. */
  readonly value: string;
  readonly description: string;
  /** Shown in `--help` and docs; the schema is what decides. */
  readonly fallback: string;
  readonly structured?: true;
}

function key(
  path: string,
  value: string,
  fallback: string,
  description: string,
  more: { name?: string; structured?: true } = {},
): SettingKey {
  const name = more.name ?? path.replaceAll('.', '-').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return {
    path,
    flag: `--${name}`,
    env: `CGP_${name.toUpperCase().replaceAll('-', '_')}`,
    value,
    description,
    fallback,
    ...(more.structured === undefined ? {} : { structured: more.structured }),
  };
}

/** Every option there is. `docs/configuration.md` is checked against this table. */
export const SETTING_KEYS: readonly SettingKey[] = [
  key('projects', 'PROJECT,...', 'none', 'fleet host projects whose memberships are served'),
  key('memberships', 'YAML', 'none', 'pin, rename, restrict or add memberships', { structured: true }),
  key('identities', 'YAML', '{default: {source: auto}}', 'named Google identities', { structured: true }),
  key('listen.address', 'ADDRESS', '127.0.0.1', 'loopback address to listen on'),
  key('listen.port', 'PORT', '7443', 'port of the hub; 0 takes any free one'),
  key('listen.membershipPorts', 'FIRST-LAST', '7500-7999', 'ports of the memberships; 0-0 takes any free ones', {
    name: 'membership-ports',
  }),
  key('listen.http', 'PORT', 'off', 'also serve plain HTTP on this port, behind secret paths; 0 takes any free one'),
  key('cutoff.assume', 'DURATION', '20m', 'age at which the gateway is expected to cut a stream'),
  key('cutoff.rotateBefore', 'DURATION', '2m', 'how long before that a new tunnel is opened'),
  key('streams.limit', 'NUMBER', '10', "the fleet's active_streams quota"),
  key('streams.queue', 'DURATION', '30s', 'how long a stream over the limit waits'),
  key('requests.perMinute', 'NUMBER', '2400', "the fleet's request quota"),
  key(
    'endpoints.universeDomain',
    'DOMAIN',
    'the universe of the default identity, mostly googleapis.com',
    'the Google Cloud universe, from which the other endpoints follow',
  ),
  key('endpoints.gkehub', 'URL', 'https://gkehub.googleapis.com', 'the fleet API'),
  key('endpoints.connectgateway', 'URL', 'https://connectgateway.googleapis.com', 'the gateway, all locations'),
  key('endpoints.iamcredentials', 'URL', 'https://iamcredentials.googleapis.com', 'the impersonation API'),
  key('endpoints.cloudresourcemanager', 'URL', 'https://cloudresourcemanager.googleapis.com', 'the project API'),
  key('endpoints.caFile', 'FILE', 'none', 'extra trust (PEM) for these endpoints only'),
  key('log.level', 'LEVEL', 'info', 'trace, debug, info, warn, error or silent'),
  key('log.format', 'FORMAT', 'pretty on a terminal, else json', 'json or pretty'),
  key('stateDir', 'FOLDER', 'the data folder of the platform', 'CA, secret, ports, cached fleet'),
  key('kubeconfigFile', 'FILE', '<stateDir>/kubeconfig', 'the kubeconfig that is kept in step with the fleet'),
  key('exec.onCutoff', 'ACTION', 'reopen', 'what happens to exec at the cutoff: reopen, end or survive'),
  key('exec.linger', 'DURATION', '0s', 'how long a surviving command goes on when its client has left'),
  key('exec.warnBefore', 'DURATION', '0s', 'warn terminals this long before the cutoff; 0s: never'),
];
