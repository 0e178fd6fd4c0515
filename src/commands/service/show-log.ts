import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CodedError } from '../../base/errors.js';
import { prettyLine } from '../../base/log.js';
import type { CommandIo } from '../io.js';

const POLL_MS = 250;
const TAIL_BYTES = 1024 * 1024;

/** The end of a log file, and what comes after it until a signal; at a terminal in the form for people. */
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
  const show = (lines: readonly string[]): void =>
    io.out(lines.map((line) => (io.outIsTty ? forPeople(line) : `${line}\n`)).join(''));
  const tail = linesOf(readFrom(Math.max(0, size - TAIL_BYTES)));
  show(o.lines === 0 ? [] : tail.slice(-o.lines));
  if (!o.follow) return;
  let over = false;
  io.onSignal(() => {
    over = true;
  });
  while (!over) {
    await io.pause(POLL_MS);
    const text = readFrom(end);
    if (text !== '') show(linesOf(text));
  }
}

function linesOf(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

/** What a crash has left is no JSON. */
function forPeople(line: string): string {
  try {
    if (line.startsWith('{')) return prettyLine(line, { withDay: true });
  } catch {
    // Shown as it stands.
  }
  return `${line}\n`;
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
