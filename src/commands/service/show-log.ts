import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CodedError } from '../../base/errors.js';
import type { CommandIo } from '../io.js';

const POLL_MS = 250;
const TAIL_BYTES = 1024 * 1024;

/** The end of a log file, and what comes after it until a signal. */
export async function showLog(path: string, o: { follow: boolean; lines: number; io: CommandIo }): Promise<void> {
  const { io } = o;
  let end = 0;
  const readFrom = (start: number): string => {
    const file = open(path);
    try {
      const { size } = fstatSync(file);
      // A smaller file is a new one.
      const from = start > size ? 0 : start;
      const buffer = Buffer.alloc(size - from);
      readSync(file, buffer, 0, buffer.length, from);
      end = size;
      return buffer.toString('utf8');
    } finally {
      closeSync(file);
    }
  };
  const size = sizeOf(path);
  const tail = readFrom(Math.max(0, size - TAIL_BYTES)).split('\n');
  if (tail.at(-1) === '') tail.pop();
  const shown = o.lines === 0 ? [] : tail.slice(-o.lines);
  io.out(shown.map((line) => `${line}\n`).join(''));
  if (!o.follow) return;
  let over = false;
  io.onSignal(() => {
    over = true;
  });
  while (!over) {
    await io.pause(POLL_MS);
    const text = readFrom(end);
    if (text !== '') io.out(text);
  }
}

function sizeOf(path: string): number {
  const file = open(path);
  try {
    return fstatSync(file).size;
  } finally {
    closeSync(file);
  }
}

function open(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw new CodedError({
      code: 'log-missing',
      message: `there is no log yet at ${path}; start the service with connect-gateway-proxy service start`,
      cause: error,
    });
  }
}
