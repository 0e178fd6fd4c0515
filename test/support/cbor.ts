/** How Kubernetes may write its strings. */
export interface CborForm {
  readonly strings: 'text' | 'bytes';
  /** Lengths that are told by a break at the end. */
  readonly indefinite?: boolean;
  /** The tag that says of an item that it is CBOR. */
  readonly selfDescribed?: boolean;
}

function head(major: number, argument: number): Buffer {
  if (argument < 24) return Buffer.of((major << 5) | argument);
  if (argument < 0x100) return Buffer.of((major << 5) | 24, argument);
  const bytes = Buffer.alloc(argument < 0x10000 ? 3 : 5);
  bytes[0] = (major << 5) | (bytes.length === 3 ? 25 : 26);
  bytes.writeUIntBE(argument, 1, bytes.length - 1);
  return bytes;
}

const BREAK = Buffer.of(0xff);

/** JSON values as CBOR items. */
export function encodeCbor(value: unknown, form: CborForm): Buffer {
  const item = encodeItem(value, form);
  return form.selfDescribed ? Buffer.concat([Buffer.from('d9d9f7', 'hex'), item]) : item;
}

function encodeItem(value: unknown, form: CborForm): Buffer {
  if (value === null) return Buffer.of(0xf6);
  if (typeof value === 'boolean') return Buffer.of(value ? 0xf5 : 0xf4);
  if (typeof value === 'number') {
    if (Number.isInteger(value)) return value < 0 ? head(1, -1 - value) : head(0, value);
    const bytes = Buffer.alloc(9, 0xfb);
    bytes.writeDoubleBE(value, 1);
    return bytes;
  }
  if (typeof value === 'string') {
    const major = form.strings === 'text' ? 3 : 2;
    const bytes = Buffer.from(value);
    if (!form.indefinite) return Buffer.concat([head(major, bytes.length), bytes]);
    const half = bytes.length >> 1;
    const parts = [bytes.subarray(0, half), bytes.subarray(half)].map((part) =>
      Buffer.concat([head(major, part.length), part]),
    );
    // Keys and what is looked for are always told in one piece.
    return bytes.length < 64
      ? Buffer.concat([head(major, bytes.length), bytes])
      : Buffer.concat([Buffer.of((major << 5) | 31), ...parts, BREAK]);
  }
  const isArray = Array.isArray(value);
  const items = isArray
    ? value.map((item) => encodeItem(item, form))
    : Object.entries(value as object).flatMap(([key, item]) => [encodeItem(key, form), encodeItem(item, form)]);
  const major = isArray ? 4 : 5;
  if (form.indefinite) return Buffer.concat([Buffer.of((major << 5) | 31), ...items, BREAK]);
  return Buffer.concat([head(major, isArray ? items.length : items.length / 2), ...items]);
}
