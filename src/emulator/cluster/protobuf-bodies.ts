import { badRequest } from './api-error.js';
import type { Dict } from './json.js';
import type { Field, FieldType, TypeSchema } from './schema/schema-language.js';
import { schemaOf } from './schema/schemas.js';

/** Every Kubernetes protobuf body begins with these four bytes, then a runtime.Unknown. */
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00]);

/** Kinds that are served in two forms: the schema of the one that does not have the kind's name. */
const SECOND_FORMS: Readonly<Record<string, string>> = {
  'events.k8s.io/v1/Event': 'EventsEvent',
  'autoscaling/v1/HorizontalPodAutoscaler': 'HorizontalPodAutoscalerV1',
};

type Wire =
  | { readonly type: 'varint'; readonly value: bigint }
  | { readonly type: 'bytes'; readonly value: Buffer }
  | { readonly type: 'fixed'; readonly value: Buffer };

interface WireField {
  readonly number: number;
  readonly wire: Wire;
}

/**
 * Decodes a request body by the schema of its kind (kubectl since 1.32 writes what its typed clients send this way).
 * An absent pointer and an empty value look alike on the wire except where the schema says that zero matters.
 */
export function decodeProtobufObject(body: Buffer): Dict {
  if (!body.subarray(0, 4).equals(MAGIC))
    throw badRequest('the body is not Kubernetes protobuf: it lacks the prefix "k8s\\0"');
  let apiVersion = '';
  let kind = '';
  let raw: Buffer = Buffer.alloc(0);
  for (const { number, wire } of readMessage(body.subarray(4))) {
    if (wire.type !== 'bytes') continue;
    if (number === 1) {
      for (const inner of readMessage(wire.value)) {
        if (inner.wire.type !== 'bytes') continue;
        if (inner.number === 1) apiVersion = inner.wire.value.toString('utf8');
        if (inner.number === 2) kind = inner.wire.value.toString('utf8');
      }
    }
    if (number === 2) raw = wire.value;
  }
  const schema = schemaOf(SECOND_FORMS[`${apiVersion}/${kind}`] ?? kind);
  if (schema === undefined)
    throw badRequest(`no kind "${kind}" of version "${apiVersion}" can be read from protobuf here`);
  return { kind, apiVersion, ...decodeMessage(raw, schema) };
}

function decodeMessage(message: Buffer, schema: TypeSchema): Dict {
  const byNumber = new Map(
    [...schema.fields.values()].filter(({ number }) => number > 0).map((f) => [f.number, f] as const),
  );
  const result: Dict = {};
  for (const { number, wire } of readMessage(message)) {
    const inlined = schemaOf(schema.inlined.get(number) ?? '');
    if (inlined !== undefined && wire.type === 'bytes') {
      Object.assign(result, decodeMessage(wire.value, inlined));
      continue;
    }
    const field = byNumber.get(number);
    if (field !== undefined) decodeField(result, field, wire);
  }
  return result;
}

function decodeField(result: Dict, field: Field, wire: Wire): void {
  const { name, type } = field;
  if (type.kind === 'list') {
    const items = (result[name] ?? []) as unknown[];
    result[name] = items;
    items.push(decodeValue(type.item, wire));
    return;
  }
  if (type.kind === 'map') {
    if (wire.type !== 'bytes') return;
    const entry = { key: '', value: emptyValue(type.value) };
    for (const { number, wire: part } of readMessage(wire.value)) {
      if (number === 1 && part.type === 'bytes') entry.key = part.value.toString('utf8');
      if (number === 2) entry.value = decodeValue(type.value, part);
    }
    result[name] = { ...((result[name] as Dict | undefined) ?? {}), [entry.key]: entry.value };
    return;
  }
  const value = decodeValue(type, wire);
  if (value === undefined) return;
  const empty = value === '' || value === 0 || value === false;
  // Required fields are written in JSON even when they are zero.
  if (!empty || field.zeroMatters || field.required) result[name] = value;
}

function emptyValue(type: FieldType): unknown {
  return type.kind === 'scalar' ? '' : {};
}

function decodeValue(type: FieldType, wire: Wire): unknown {
  if (wire.type === 'varint') {
    return type.kind === 'scalar' && type.scalar === 'bool' ? wire.value !== 0n : Number(BigInt.asIntN(64, wire.value));
  }
  if (wire.type === 'fixed') return wire.value.length === 8 ? wire.value.readDoubleLE() : wire.value.readFloatLE();
  if (type.kind === 'ref') {
    const schema = schemaOf(type.name);
    return schema === undefined ? {} : decodeMessage(wire.value, schema);
  }
  if (type.kind !== 'scalar') throw badRequest('a protobuf body holds a list of lists');
  switch (type.scalar) {
    case 'string':
      return wire.value.toString('utf8');
    case 'bytes':
      return wire.value.toString('base64');
    case 'time':
    case 'microtime':
      return decodeTime(wire.value, type.scalar === 'microtime');
    case 'quantity':
      return readText(wire.value, 1);
    case 'intstr':
      return decodeIntOrString(wire.value);
    case 'fields':
      return decodeFields(readText(wire.value, 1));
    case 'object':
      if (wire.value.length === 0) return undefined;
      throw badRequest('the emulator cannot read this part of a protobuf body; send it as JSON (kubectl apply does)');
    default:
      throw badRequest('a protobuf body does not fit its type');
  }
}

/** FieldsV1 is JSON inside of protobuf. */
function decodeFields(json: string): unknown {
  if (json === '') return undefined;
  try {
    return JSON.parse(json) as unknown;
  } catch {
    throw badRequest('metadata.managedFields of a protobuf body holds something else than JSON');
  }
}

function decodeTime(message: Buffer, micro: boolean): string | undefined {
  let seconds = 0n;
  let nanos = 0n;
  for (const { number, wire } of readMessage(message)) {
    if (wire.type !== 'varint') continue;
    if (number === 1) seconds = BigInt.asIntN(64, wire.value);
    if (number === 2) nanos = wire.value;
  }
  if (seconds === 0n && nanos === 0n) return undefined;
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return micro ? `${whole}.${String(nanos / 1000n).padStart(6, '0')}Z` : `${whole}Z`;
}

function decodeIntOrString(message: Buffer): number | string {
  let isString = false;
  let number = 0;
  for (const field of readMessage(message)) {
    if (field.wire.type !== 'varint') continue;
    if (field.number === 1) isString = field.wire.value === 1n;
    if (field.number === 2) number = Number(BigInt.asIntN(64, field.wire.value));
  }
  return isString ? readText(message, 3) : number;
}

function readText(message: Buffer, number: number): string {
  for (const field of readMessage(message)) {
    if (field.number === number && field.wire.type === 'bytes') return field.wire.value.toString('utf8');
  }
  return '';
}

function* readMessage(message: Buffer): Generator<WireField> {
  let offset = 0;
  const take = (length: number): Buffer => {
    if (offset + length > message.length) throw badRequest('a protobuf body ends in the middle of a field');
    const part = message.subarray(offset, offset + length);
    offset += length;
    return part;
  };
  const varint = (): bigint => {
    let value = 0n;
    // Ten groups of seven bits hold 64.
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = take(1)[0] ?? 0;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw badRequest('a protobuf body holds a number of more than 64 bits');
  };
  while (offset < message.length) {
    const tag = varint();
    const number = Number(tag >> 3n);
    switch (Number(tag & 7n)) {
      case 0:
        yield { number, wire: { type: 'varint', value: varint() } };
        break;
      case 1:
        yield { number, wire: { type: 'fixed', value: take(8) } };
        break;
      case 2: {
        const length = varint();
        yield { number, wire: { type: 'bytes', value: take(Number(length)) } };
        break;
      }
      case 5:
        yield { number, wire: { type: 'fixed', value: take(4) } };
        break;
      default:
        throw badRequest('a protobuf body holds an unknown wire type');
    }
  }
}
