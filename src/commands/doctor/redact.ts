const REDACTED = '[redacted]';
/** Shorter texts would be found in words that are no secrets. */
const LEAST_LENGTH = 8;

/** What looks like a credential, wherever it stands: Google's, Kubernetes', and what is said to be one. */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, REDACTED],
  [/\bya29\.[\w.-]+/g, REDACTED],
  [/\b1\/\/[\w-]{16,}/g, REDACTED],
  [/\bAIza[\w-]{30,}/g, REDACTED],
  [/\bGOCSPX-[\w-]+/g, REDACTED],
  [/\beyJ[\w-]+\.[\w-]+(?:\.[\w-]+)?/g, REDACTED],
  [/\b(Bearer|Basic)\s+[^\s"',;]+/gi, `$1 ${REDACTED}`],
  [/(\/\/)[^/\s"'@]+:[^/\s"'@]+@/g, `$1${REDACTED}@`],
  [
    /((?:^|[^\w-])"?(?:[\w-]*(?:token|secret|password|passwd|assertion|authorization|cookie|private_key|key-data))"?\s*[:=]\s*)(?:"[^"]*"|'[^']*'|[^\s,;}&"']+)/gi,
    `$1${REDACTED}`,
  ],
  // Nothing that people read is one word of this length: names, paths and addresses have separators.
  [/[A-Za-z0-9_+=-]{64,}/g, REDACTED],
];

const SECRET_NAME = /(?:token|secret|password|passwd|assertion|authorization|cookie|private_?key|key-data)$/i;

/** Takes credentials out of texts: those that are known, in any usual encoding, and all that look like one. */
export class Redactor {
  readonly #known: readonly string[];

  constructor(secrets: Iterable<string>) {
    const forms = [...secrets]
      .map((secret) => secret.trim())
      .filter((secret) => secret.length >= LEAST_LENGTH)
      .flatMap((secret) => [
        secret,
        encodeURIComponent(secret),
        JSON.stringify(secret).slice(1, -1),
        Buffer.from(secret).toString('base64').replace(/=+$/, ''),
        Buffer.from(secret).toString('base64url'),
      ]);
    // The longest first: one may be a part of another.
    this.#known = [...new Set(forms)].sort((a, b) => b.length - a.length);
  }

  /** JSON stays JSON. What stands under a name that says secret goes whole. */
  json(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map((item) => this.json(item));
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).map(([name, inner]) => {
      const hide = typeof inner === 'string' && SECRET_NAME.test(name);
      return [this.text(name), hide ? REDACTED : this.json(inner)] as const;
    });
    return Object.fromEntries(entries);
  }

  text(text: string): string {
    let clean = text;
    for (const secret of this.#known) clean = clean.replaceAll(secret, REDACTED);
    for (const [pattern, instead] of PATTERNS) clean = clean.replace(pattern, instead);
    return clean;
  }
}
