import * as v from 'valibot';
import { parseDuration } from './duration.js';

const PORT_MAX = 65_535;

const text = v.pipe(v.string('expected text'), v.trim(), v.nonEmpty('must not be empty'));

const duration = v.pipe(
  v.string('expected a duration like 20m, 90s or 1h30m'),
  v.rawTransform<string, number>(({ dataset, addIssue, NEVER }) => {
    const ms = parseDuration(dataset.value.trim());
    if (ms !== undefined) return ms;
    addIssue({ message: 'expected a duration like 20m, 90s or 1h30m' });
    return NEVER;
  }),
);

/** Flags and environment give text, files give numbers. */
function whole(minimum: number, maximum: number): v.GenericSchema<unknown, number> {
  const message = `expected a whole number from ${minimum} to ${maximum}`;
  return v.pipe(
    v.union([v.number(), v.pipe(v.string(), v.regex(/^\s*\d+\s*$/), v.transform(Number))], message),
    v.integer(message),
    v.minValue(minimum, message),
    v.maxValue(maximum, message),
  );
}

const port = whole(0, PORT_MAX);

const portOrOff = v.union([v.literal('off'), port], `expected off or a port, from 0 to ${PORT_MAX}`);

const portRange = v.pipe(
  v.string('expected a range of ports like 7500-7999'),
  v.rawTransform<string, { first: number; last: number }>(({ dataset, addIssue, NEVER }) => {
    const match = /^\s*(\d+)\s*-\s*(\d+)\s*$/.exec(dataset.value);
    const first = Number(match?.[1]);
    const last = Number(match?.[2]);
    const any = first === 0 && last === 0;
    if (match !== null && (any || (first > 0 && first <= last && last <= PORT_MAX))) return { first, last };
    addIssue({ message: 'expected a range of ports like 7500-7999' });
    return NEVER;
  }),
);

const url = v.pipe(
  text,
  v.rawTransform<string, string>(({ dataset, addIssue, NEVER }) => {
    const parsed = URL.canParse(dataset.value) ? new URL(dataset.value) : undefined;
    const plain = parsed?.username === '' && parsed.search === '' && parsed.hash === '';
    const secure = parsed?.protocol === 'https:' || (parsed?.protocol === 'http:' && isLoopback(parsed.hostname));
    if (plain && secure) return dataset.value.replace(/\/+$/, '');
    addIssue({ message: 'expected an https:// URL (http:// only for this machine), without user, query or fragment' });
    return NEVER;
  }),
);

const textList = v.union(
  [
    v.pipe(
      v.string(),
      v.transform((value) =>
        value
          .split(',')
          .map((item) => item.trim())
          .filter((item) => item !== ''),
      ),
    ),
    v.array(v.pipe(v.union([v.string(), v.number()]), v.transform(String), v.nonEmpty('must not be empty'))),
  ],
  'expected a list of names',
);

function oneOf<const T extends readonly string[]>(values: T): v.GenericSchema<unknown, T[number]> {
  return v.picklist(values, `expected one of ${values.join(', ')}`);
}

const onCutoff = oneOf(['reopen', 'end', 'survive']);

const membership = v.strictObject({
  name: v.pipe(
    text,
    v.regex(
      /^projects\/[^/\s]+\/locations\/[^/\s]+\/memberships\/[^/\s]+$/,
      'expected projects/PROJECT/locations/LOCATION/memberships/MEMBERSHIP',
    ),
  ),
  alias: v.optional(
    v.pipe(text, v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'expected letters, digits, dots, dashes or underscores')),
  ),
  port: v.optional(whole(1, PORT_MAX)),
  policy: v.optional(oneOf(['full', 'no-exec', 'read-only'])),
  identity: v.optional(text),
  endpoint: v.optional(url),
  exec: v.optional(
    v.strictObject({
      onCutoff: v.optional(onCutoff),
      linger: v.optional(duration),
      warnBefore: v.optional(duration),
    }),
  ),
});

/** A token that is renewed minutes ahead of its end must live for longer than that. */
const SHORTEST_LIFETIME_MS = 5 * 60_000;
/** constraints/iam.allowServiceAccountCredentialLifetimeExtension allows no more. */
const LONGEST_LIFETIME_MS = 12 * 60 * 60_000;

const identity = v.pipe(
  v.strictObject({
    source: v.optional(oneOf(['auto', 'gcloud', 'adc', 'token-file', 'key-file']), 'auto'),
    tokenFile: v.optional(text),
    keyFile: v.optional(text),
    account: v.optional(text),
    configuration: v.optional(text),
    impersonate: v.optional(textList),
    lifetime: v.optional(duration),
    quotaProject: v.optional(text),
    quotaProjectOnDataPath: v.optional(v.boolean('expected true or false')),
  }),
  v.check(
    (value) => value.source !== 'token-file' || value.tokenFile !== undefined,
    'source token-file needs tokenFile',
  ),
  v.check((value) => value.source !== 'key-file' || value.keyFile !== undefined, 'source key-file needs keyFile'),
  v.check(
    ({ source, account, configuration }) =>
      (account === undefined && configuration === undefined) || source === 'gcloud' || source === 'auto',
    "account and configuration are gcloud's: they need source gcloud",
  ),
  v.check(
    ({ lifetime, impersonate = [] }) => lifetime === undefined || impersonate.length > 0,
    'lifetime is of the tokens that impersonation ends in: it needs impersonate',
  ),
  v.check(
    ({ lifetime = SHORTEST_LIFETIME_MS }) => lifetime >= SHORTEST_LIFETIME_MS && lifetime <= LONGEST_LIFETIME_MS,
    'lifetime: expected a duration from 5m to 12h; more than 1h needs an organisation policy',
  ),
  v.check(
    (value) => value.quotaProjectOnDataPath !== true || value.quotaProject !== undefined,
    'quotaProjectOnDataPath needs quotaProject',
  ),
);

/** What a person may write, and what it becomes. Durations are ms. */
export const SETTINGS_SCHEMA = v.strictObject({
  projects: v.optional(textList, []),
  memberships: v.optional(v.array(membership, 'expected a list of memberships'), []),
  identities: v.optional(v.record(v.string(), identity, 'expected named identities'), {}),
  listen: v.optional(
    v.strictObject({
      address: v.optional(
        v.pipe(
          text,
          v.check(isLoopback, 'expected an address of this machine, such as 127.0.0.1 or ::1: nothing else is served'),
        ),
        '127.0.0.1',
      ),
      port: v.optional(port, 7443),
      membershipPorts: v.optional(portRange, '7500-7999'),
      http: v.optional(portOrOff, 'off'),
    }),
    {},
  ),
  cutoff: v.optional(
    v.strictObject({ assume: v.optional(duration, '20m'), rotateBefore: v.optional(duration, '2m') }),
    {},
  ),
  streams: v.optional(
    v.strictObject({ limit: v.optional(whole(1, 100_000), 10), queue: v.optional(duration, '30s') }),
    {},
  ),
  requests: v.optional(v.strictObject({ perMinute: v.optional(whole(1, 10_000_000), 2400) }), {}),
  endpoints: v.optional(
    v.strictObject({
      universeDomain: v.optional(
        v.pipe(text, v.regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/, 'expected a domain like googleapis.com')),
      ),
      gkehub: v.optional(url),
      connectgateway: v.optional(url),
      iamcredentials: v.optional(url),
      cloudresourcemanager: v.optional(url),
      caFile: v.optional(text),
    }),
    {},
  ),
  log: v.optional(
    v.strictObject({
      level: v.optional(oneOf(['trace', 'debug', 'info', 'warn', 'error', 'silent']), 'info'),
      format: v.optional(oneOf(['json', 'pretty'])),
    }),
    {},
  ),
  stateDir: v.optional(text),
  kubeconfigFile: v.optional(text),
  exec: v.optional(
    v.strictObject({
      onCutoff: v.optional(onCutoff, 'reopen'),
      linger: v.optional(duration, '0s'),
      warnBefore: v.optional(duration, '0s'),
    }),
    {},
  ),
});

export type SettingsInput = v.InferOutput<typeof SETTINGS_SCHEMA>;

/** Where an identity's tokens come from, as configured. */
export type IdentitySettings = SettingsInput['identities'][string];

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}
