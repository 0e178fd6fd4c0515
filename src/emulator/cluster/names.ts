/** Letters and digits that make no words, as Kubernetes uses for generated names. */
const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

export type Random = () => number;

export function randomSuffix(random: Random, length = 5): string {
  return Array.from({ length }, () => ALPHABET[Math.floor(random() * ALPHABET.length)] ?? 'x').join('');
}

/** A short name part that is a function of `value`: FNV-1a in the safe alphabet, for pod templates. */
export function hashSuffix(value: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(value)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  let suffix = '';
  for (let rest = hash; suffix.length < 9; rest = Math.floor(rest / ALPHABET.length) + 7) {
    suffix += ALPHABET[rest % ALPHABET.length];
  }
  return suffix;
}
