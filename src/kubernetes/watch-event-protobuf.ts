/** Bytes that precede every Kubernetes object in protobuf: a runtime.Unknown follows. */
const ENVELOPE = Buffer.from('k8s\0', 'latin1');

/** Field numbers, from the generated.proto files of apimachinery; every object has its metadata at 1. */
const FIELD = {
  eventType: 1,
  eventObject: 2,
  extensionRaw: 1,
  unknownRaw: 2,
  objectMetadata: 1,
  resourceVersion: 6,
  annotations: 12,
  mapKey: 1,
  mapValue: 2,
} as const;

export interface ProtobufEventFacts {
  readonly type: string;
  readonly resourceVersion?: string;
  readonly endsInitialEvents: boolean;
}

/** Reads a meta.v1.WatchEvent without its length. Throws a RangeError on what is no protobuf. */
export function readProtobufEvent(event: Buffer): ProtobufEventFacts {
  const type = bytesField(event, FIELD.eventType)?.toString('latin1') ?? '';
  const extension = bytesField(event, FIELD.eventObject);
  const raw = extension === undefined ? undefined : bytesField(extension, FIELD.extensionRaw);
  if (raw === undefined || type === 'ERROR' || !raw.subarray(0, ENVELOPE.length).equals(ENVELOPE)) {
    return { type, endsInitialEvents: false };
  }
  const object = bytesField(raw.subarray(ENVELOPE.length), FIELD.unknownRaw);
  const metadata = object === undefined ? undefined : bytesField(object, FIELD.objectMetadata);
  if (metadata === undefined) return { type, endsInitialEvents: false };
  const resourceVersion = bytesField(metadata, FIELD.resourceVersion)?.toString('utf8');
  return {
    type,
    ...(resourceVersion === undefined || resourceVersion === '' ? {} : { resourceVersion }),
    endsInitialEvents: type === 'BOOKMARK' && hasEndAnnotation(metadata),
  };
}

function hasEndAnnotation(metadata: Buffer): boolean {
  for (const { number, value } of fields(metadata)) {
    if (number !== FIELD.annotations || value === undefined) continue;
    if (bytesField(value, FIELD.mapKey)?.toString('utf8') !== 'k8s.io/initial-events-end') continue;
    if (bytesField(value, FIELD.mapValue)?.toString('utf8') === 'true') return true;
  }
  return false;
}

/** The first length-delimited field with this number. */
function bytesField(message: Buffer, wanted: number): Buffer | undefined {
  for (const { number, value } of fields(message)) if (number === wanted && value !== undefined) return value;
  return undefined;
}

/** Steps over a message; `value` only where the field is length-delimited. */
function* fields(message: Buffer): Generator<{ number: number; value: Buffer | undefined }> {
  let at = 0;
  const varint = (): number => {
    let result = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at++];
      if (byte === undefined || factor > 2 ** 63) throw new RangeError('a watch event is not valid protobuf');
      result += (byte & 0x7f) * factor;
      if (byte < 0x80) return result;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        varint();
        yield { number, value: undefined };
        break;
      case 1:
        at += 8;
        break;
      case 5:
        at += 4;
        break;
      case 2: {
        const length = varint();
        if (at + length > message.length) throw new RangeError('a watch event is not valid protobuf');
        yield { number, value: message.subarray(at, at + length) };
        at += length;
        break;
      }
      default:
        throw new RangeError('a watch event is not valid protobuf');
    }
  }
}
