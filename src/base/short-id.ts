import { randomBytes } from 'node:crypto';

/** Crockford's base 32 in lower case: no letter that can be read as a digit. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** Eight characters (40 random bits): enough to tell one daemon's connections apart in a log, short enough to say aloud. */
export function shortId(random: (bytes: number) => Uint8Array = randomBytes): string {
  return Array.from(random(8), (byte) => ALPHABET[byte & 31]).join('');
}
