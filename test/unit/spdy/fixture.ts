import { readFileSync } from 'node:fs';

export interface RecordedWrite {
  readonly from: 'client' | 'server';
  readonly bytes: Buffer;
}

/** The writes of a recorded SPDY connection, in order. */
export function readFixture(name: string): RecordedWrite[] {
  const text = readFileSync(new URL(`../../fixtures/spdy/${name}.txt`, import.meta.url), 'utf8');
  return text.split('\n').flatMap((line) => {
    const match = /^(C->S|S->C) ([0-9a-f]+|-)$/.exec(line);
    if (match === null) return [];
    const hex = match[2] === '-' ? '' : (match[2] ?? '');
    return [{ from: match[1] === 'C->S' ? ('client' as const) : ('server' as const), bytes: Buffer.from(hex, 'hex') }];
  });
}

export function bytesFrom(name: string, from: 'client' | 'server'): Buffer {
  return Buffer.concat(readFixture(name).flatMap((write) => (write.from === from ? [write.bytes] : [])));
}
