import { readFileSync } from 'node:fs';

/** One write of one side; of a closed side, no bytes. */
export interface Write {
  readonly from: 'client' | 'server';
  readonly bytes: Buffer | undefined;
}

const END_OF_HEAD = '\r\n\r\n';

/** One recorded connection after TLS: an HTTP request, its answer, and what came behind. */
export class Conversation {
  readonly writes: readonly Write[];

  constructor(writes: readonly Write[]) {
    this.writes = writes;
  }

  bytes(from: 'client' | 'server'): Buffer {
    return Buffer.concat(this.writes.flatMap((write) => (write.from === from ? (write.bytes ?? []) : [])));
  }

  /** The first head of a side, its empty line included. */
  head(from: 'client' | 'server'): string {
    const bytes = this.bytes(from);
    return bytes.toString('latin1', 0, bytes.indexOf(END_OF_HEAD) + 4);
  }

  /** What a side said behind its head, as one piece. */
  rest(from: 'client' | 'server'): Buffer {
    return this.bytes(from).subarray(this.head(from).length);
  }

  /** The server's body. */
  get body(): Buffer {
    const rest = this.rest('server');
    return this.header('server', 'transfer-encoding')[0] === 'chunked' ? dechunked(rest).body : rest;
  }

  /** The same write by write, without what is empty. */
  restWrites(from: 'client' | 'server'): Buffer[] {
    let skip = this.head(from).length;
    return this.writes.flatMap(({ from: side, bytes }) => {
      if (side !== from || bytes === undefined) return [];
      const rest = bytes.subarray(skip);
      skip = Math.max(0, skip - bytes.length);
      return rest.length === 0 ? [] : [rest];
    });
  }

  /** The request's path and query below a membership. */
  get target(): string {
    const target = this.head('client').split(' ')[1] ?? '';
    return target.replace(/^\/v1\/projects\/[^/]+\/locations\/[^/]+\/memberships\/[^/]+/, '');
  }

  get method(): string {
    return this.head('client').split(' ')[0] ?? '';
  }

  header(from: 'client' | 'server', name: string): string[] {
    const lines = this.head(from).split('\r\n').slice(1);
    return lines.flatMap((line) => {
      const colon = line.indexOf(':');
      return line.slice(0, colon).toLowerCase() === name.toLowerCase() ? [line.slice(colon + 1).trim()] : [];
    });
  }
}

/** A chunked body as far as it is there; `ended` where its last chunk is. */
export function dechunked(bytes: Buffer): { body: Buffer; ended: boolean } {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd === -1) return { body: Buffer.concat(chunks), ended: false };
    const length = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    if (length === 0) return { body: Buffer.concat(chunks), ended: true };
    chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + length));
    at = lineEnd + 2 + length + 2;
  }
}

/** The connections of one recording, in order; see captures/README.md. */
export function readCapture(name: string): Conversation[] {
  const text = readFileSync(new URL(`captures/${name}.txt`, import.meta.url), 'utf8');
  const conversations: Write[][] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('## ')) conversations.push([]);
    const match = /^(C->S|S->C) ([0-9a-f]*|FIN)$/.exec(line);
    if (match === null) continue;
    const bytes = match[2] === 'FIN' ? undefined : Buffer.from(match[2] ?? '', 'hex');
    conversations.at(-1)?.push({ from: match[1] === 'C->S' ? 'client' : 'server', bytes });
  }
  return conversations.map((writes) => new Conversation(writes));
}

/** The one connection of a recording, or the one at `index`. */
export function readConversation(name: string, index = 0): Conversation {
  const conversation = readCapture(name)[index];
  if (conversation === undefined) throw new Error(`the capture ${name} has no connection ${index}`);
  return conversation;
}
