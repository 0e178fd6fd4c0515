import { randomFillSync } from 'node:crypto';

/** Crockford's base 32 in lower case: no letter that can be read as a digit. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const LENGTH = 8;
/** The system's random source costs as much for 4 kB as for 8 bytes, and every request takes an id. */
const pool = Buffer.alloc(LENGTH * 512);
let next = pool.length;

/** Eight characters (40 random bits): enough to tell one daemon's connections apart in a log, short enough to say aloud. */
export function shortId(): string {
  if (next === pool.length) {
    randomFillSync(pool);
    next = 0;
  }
  let id = '';
  for (const end = next + LENGTH; next < end; next++) id += ALPHABET[(pool[next] ?? 0) & 31];
  return id;
}
