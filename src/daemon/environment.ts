type Environment = Readonly<Record<string, string | undefined>>;

/** Where Google's tools, logins and certificates are. None holds a secret: they name files. */
export const FILE_VARIABLES = [
  'CLOUDSDK_CONFIG',
  'CLOUDSDK_ACTIVE_CONFIG_NAME',
  'CLOUDSDK_PYTHON',
  'CLOUDSDK_ROOT_DIR',
  'GOOGLE_APPLICATION_CREDENTIALS',
  'GOOGLE_CLOUD_QUOTA_PROJECT',
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_DIR',
  'SSL_CERT_FILE',
  'XDG_CONFIG_HOME',
  'XDG_DATA_HOME',
] as const;

/** In both spellings. Their URLs may hold a password. */
export const PROXY_VARIABLES: readonly string[] = ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY', 'NO_PROXY'].flatMap(
  (upper) => [upper, upper.toLowerCase()],
);

/** gcloud's own settings by variable, besides those above. */
const GCLOUD_VARIABLES = [
  'CLOUDSDK_CORE_ACCOUNT',
  'CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT',
  'CLOUDSDK_AUTH_ACCESS_TOKEN_FILE',
  'CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE',
] as const;

/** Whatever decides how Google is reached, and as whom. */
export const WAY_VARIABLES: readonly string[] = [
  'HOME',
  'PATH',
  ...FILE_VARIABLES,
  ...GCLOUD_VARIABLES,
  ...PROXY_VARIABLES,
];

export function holdsPassword(proxy: string): boolean {
  return /^[^/]*:\/\/[^/]*@/.test(proxy) || (!proxy.includes('://') && /^[^/]*:[^/]*@/.test(proxy));
}

/** A proxy's URL as it may be shown. */
export function withoutPassword(proxy: string): string {
  return proxy.replace(/^([^/]*:\/\/)?[^/]*@/, '$1***@');
}

/** The variables above that are set, as they may be shown. */
export function tellEnvironment(env: Environment): Record<string, string> {
  const told: Record<string, string> = {};
  for (const name of WAY_VARIABLES) {
    const value = env[name];
    if (value !== undefined) told[name] = PROXY_VARIABLES.includes(name) ? withoutPassword(value) : value;
  }
  return told;
}
