import { constants, inflateRawSync } from 'node:zlib';
import { systemCode } from '../base/errors.js';
import { DICTIONARY, DICTIONARY_ADLER32 } from './dictionary.js';
import type { SpdyHeaders } from './frame.js';
import { LIMIT, spdyError } from './frame.js';

/** What deflate can refer back to. */
const WINDOW_BYTES = 32 * 1024;
/** CMF and FLG: deflate with a 32 KiB window, a preset dictionary, and the check bits that make it a multiple of 31. */
const ZLIB_HEADER = 0x7820;
const STORED_BLOCK_BYTES = 0xffff;
/** An empty stored block, as Z_SYNC_FLUSH leaves: Go's reader hands on what it has only when it meets one. */
const SYNC_FLUSH = Buffer.from('000000ffff', 'hex');

/**
 * One direction's header blocks: all of them are one zlib stream, flushed to a whole byte after each block. That makes each
 * block a raw deflate stream whose dictionary is what came before, so it inflates synchronously and frames keep their order.
 */
export class HeaderBlockReader {
  #window: Buffer | undefined;

  /** Throws a CodedError `spdy-header-block…`, after which the reader must not be used. */
  read(block: Buffer): SpdyHeaders {
    let deflated = block;
    if (this.#window === undefined) {
      this.#window = windowOfStart(block);
      deflated = block.subarray(this.#window.length > 0 ? 6 : 2);
    }
    const inflated = inflate(deflated, this.#window);
    this.#window = Buffer.concat([this.#window, inflated]).subarray(-WINDOW_BYTES);
    return parseHeaders(inflated);
  }
}

/** The writing side needs no compressor: stored blocks are part of every zlib reader's trade, and headers here are tiny. */
export class HeaderBlockWriter {
  #started = false;

  write(headers: SpdyHeaders): Buffer {
    const plain = formatHeaders(headers);
    const parts: Buffer[] = [];
    if (!this.#started) {
      this.#started = true;
      const start = Buffer.alloc(6);
      start.writeUInt16BE(ZLIB_HEADER);
      start.writeUInt32BE(DICTIONARY_ADLER32, 2);
      parts.push(start);
    }
    for (let at = 0; at < plain.length; at += STORED_BLOCK_BYTES) {
      const piece = plain.subarray(at, at + STORED_BLOCK_BYTES);
      const head = Buffer.alloc(5);
      head.writeUInt16LE(piece.length, 1);
      head.writeUInt16LE(piece.length ^ 0xffff, 3);
      parts.push(head, piece);
    }
    return Buffer.concat([...parts, SYNC_FLUSH]);
  }
}

/** The window before the first block: the dictionary, or nothing where the stream says that it uses none. */
function windowOfStart(block: Buffer): Buffer {
  if (block.length < 2) throw spdyError('header-block', 'the first header block is too short for a zlib header');
  const header = block.readUInt16BE();
  // Deflate, a window of at most 32 KiB, and the header's own check.
  if ((header & 0x0f00) !== 0x0800 || header >> 12 > 7 || header % 31 !== 0) {
    throw spdyError('header-block', 'the first header block does not start with a zlib header');
  }
  if ((header & 0x20) === 0) return Buffer.alloc(0);
  if (block.length < 6 || block.readUInt32BE(2) !== DICTIONARY_ADLER32) {
    throw spdyError('header-block', "the header blocks are compressed with another dictionary than SPDY/3's");
  }
  return DICTIONARY;
}

function inflate(deflated: Buffer, window: Buffer): Buffer {
  try {
    return inflateRawSync(deflated, {
      ...(window.length > 0 ? { dictionary: window } : {}),
      // The stream goes on in the next block: its end is not to be missed here.
      finishFlush: constants.Z_SYNC_FLUSH,
      maxOutputLength: LIMIT.headerBlockBytes,
    });
  } catch (error) {
    if (systemCode(error) === 'ERR_BUFFER_TOO_LARGE') {
      throw spdyError('header-block-size', `a header block inflates to more than ${LIMIT.headerBlockBytes} bytes`);
    }
    throw spdyError('header-block', 'a header block is not a part of one zlib stream');
  }
}

function parseHeaders(plain: Buffer): SpdyHeaders {
  let at = 0;
  const number = (): number => {
    if (plain.length - at < 4) throw spdyError('header-block', 'a header block ends in the middle of a header');
    at += 4;
    return plain.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = number();
    if (length > plain.length - at) throw spdyError('header-block', 'a header block ends in the middle of a header');
    at += length;
    return plain.toString('utf8', at - length, at);
  };
  const count = number();
  if (count > LIMIT.headers) throw spdyError('header-count', `a frame has more than ${LIMIT.headers} headers`);
  const headers: [string, string][] = [];
  const seen = new Set<string>();
  for (let left = count; left > 0; left--) {
    const name = text();
    const value = text();
    if (name === '' || name !== name.toLowerCase()) {
      throw spdyError('header-name', 'a header name is empty or not in lower case');
    }
    if (seen.has(name)) throw spdyError('header-name', 'a header name occurs twice in one block');
    seen.add(name);
    headers.push([name, value]);
  }
  if (at !== plain.length) throw spdyError('header-block', 'a header block goes on after its last header');
  return headers;
}

function formatHeaders(headers: SpdyHeaders): Buffer {
  if (headers.length > LIMIT.headers) throw spdyError('header-count', `a frame has more than ${LIMIT.headers} headers`);
  const parts: Buffer[] = [lengthWord(headers.length)];
  for (const pair of headers) {
    for (const text of [pair[0].toLowerCase(), pair[1]]) {
      const bytes = Buffer.from(text);
      parts.push(lengthWord(bytes.length), bytes);
    }
  }
  const block = Buffer.concat(parts);
  if (block.length > LIMIT.headerBlockBytes) {
    throw spdyError('header-block-size', `a header block has more than ${LIMIT.headerBlockBytes} bytes`);
  }
  return block;
}

function lengthWord(length: number): Buffer {
  const word = Buffer.alloc(4);
  word.writeUInt32BE(length);
  return word;
}
