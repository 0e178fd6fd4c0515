/** As much of Kubernetes' protobuf as tests say and read, apart from the product's own. */

/** What stands before every object: a runtime.Unknown follows. */
const ENVELOPE = Buffer.from('k8s\0', 'latin1');

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 0x80);
  }
}

function field(number: number, value: Buffer | string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

function integer(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8), varint(value)]);
}

/** Every field of a message in order: bytes where it is length-delimited, else a number. */
function* fieldsOf(message: Buffer): Generator<[number: number, value: Buffer | number]> {
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message.readUInt8(at++);
      value += (byte & 0x7f) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const key = next();
    const value = next();
    if (key % 8 === 0) yield [key >> 3, value];
    else {
      yield [key >> 3, message.subarray(at, at + value)];
      at += value;
    }
  }
}

function bytesAt(message: Buffer, ...path: number[]): Buffer {
  let here = message;
  for (const wanted of path) {
    const [, value] = [...fieldsOf(here)].find(([number]) => number === wanted) ?? [];
    if (!Buffer.isBuffer(value)) return Buffer.alloc(0);
    here = value;
  }
  return here;
}

function unknown(object: Buffer, kind: string): Buffer {
  const typeMeta = Buffer.concat([field(1, 'v1'), field(2, kind)]);
  return Buffer.concat([ENVELOPE, field(1, typeMeta), field(2, object)]);
}

function pod(name: string, resourceVersion?: number): Buffer {
  const version = resourceVersion === undefined ? [] : [field(6, String(resourceVersion))];
  return field(1, Buffer.concat([field(1, name), ...version]));
}

function event(type: string, object: Buffer): Buffer {
  const body = Buffer.concat([field(1, type), field(2, field(1, object))]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

export function podEvent(type: string, resourceVersion: number, name = 'box'): Buffer {
  return event(type, unknown(pod(name, resourceVersion), 'Pod'));
}

/** Of a pod whose spec has so many bytes; one without a resourceVersion says none. */
export function largePodEvent(type: string, o: { resourceVersion?: number | undefined; specBytes: number }): Buffer {
  const spec = field(2, 'x'.repeat(o.specBytes));
  return event(type, unknown(Buffer.concat([pod('box', o.resourceVersion), spec]), 'Pod'));
}

/** The event that ends a watch from a resourceVersion that is forgotten. */
export function expiredEvent(): Buffer {
  const status = Buffer.concat([field(2, 'Failure'), field(3, 'too old resource version'), field(4, 'Expired')]);
  return event('ERROR', unknown(Buffer.concat([status, integer(6, 410)]), 'Status'));
}

export function podList(resourceVersion: number, pods: Iterable<readonly [name: string, version: number]>): Buffer {
  const items = [...pods].map(([name, version]) => field(2, pod(name, version)));
  return unknown(Buffer.concat([field(1, field(2, String(resourceVersion))), ...items]), 'PodList');
}

export function readPodList(body: Buffer): { resourceVersion: string; pods: [string, number][] } {
  const list = bytesAt(body.subarray(ENVELOPE.length), 2);
  const pods = [...fieldsOf(list)].filter(([number]) => number === 2).map(([, item]) => readPod(item as Buffer));
  return { resourceVersion: bytesAt(list, 1, 2).toString(), pods };
}

export interface PodEvent {
  readonly type: string;
  readonly name: string;
  readonly version: number;
}

/** The whole events at the beginning of `bytes`, and how long they are; `name` is the reason where the type is ERROR. */
export function readEvents(bytes: Buffer): { events: PodEvent[]; length: number } {
  const events: PodEvent[] = [];
  let at = 0;
  while (bytes.length - at >= 4 && bytes.length - at - 4 >= bytes.readUInt32BE(at)) {
    const body = bytes.subarray(at + 4, at + 4 + bytes.readUInt32BE(at));
    at += 4 + body.length;
    const type = bytesAt(body, 1).toString();
    const object = bytesAt(bytesAt(body, 2, 1).subarray(ENVELOPE.length), 2);
    const [name, version] = type === 'ERROR' ? [bytesAt(object, 4).toString(), 0] : readPod(object);
    events.push({ type, name, version });
  }
  return { events, length: at };
}

function readPod(object: Buffer): [string, number] {
  return [bytesAt(object, 1, 1).toString(), Number(bytesAt(object, 1, 6).toString())];
}
