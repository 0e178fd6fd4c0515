/**
 * One compact text describes every type that the built-in cluster serves; discovery's OpenAPI, field validation, patches,
 * server-side apply and protobuf bodies are all read from it.
 *
 *     package io.k8s.api.core.v1
 *     PodSpec: what the type is
 *       2 containers* []Container map(name) : what the field is
 *
 * A field is its protobuf number (0: not in protobuf), its name (`*`: required), its type and flags. Types: string, bool,
 * int32, int64, double, bytes, time, microtime, quantity, intstr, object (open), fields; `[]T`, `{}T`, or a type's name.
 * Flags: `map(a,b)` a list merged by keys (the first is also the patch merge key, unless `merge(k)` names it), `set` a list
 * merged by value, `patch(k)` merged by strategic patches only, `retain` patch strategy retainKeys, `atomic` replaced whole.
 */
export interface Field {
  readonly name: string;
  readonly number: number;
  readonly required: boolean;
  readonly type: FieldType;
  readonly description: string;
  /** How server-side apply treats the field; a list without keys is atomic, all else granular. */
  readonly listType?: 'map' | 'set' | 'atomic';
  readonly mapKeys?: readonly string[];
  readonly atomic: boolean;
  readonly patchMergeKey?: string;
  readonly patchStrategies: readonly string[];
  readonly zeroMatters: boolean;
}

export type Scalar =
  | 'string'
  | 'bool'
  | 'int32'
  | 'int64'
  | 'double'
  | 'bytes'
  | 'time'
  | 'microtime'
  | 'quantity'
  | 'intstr'
  | 'object'
  | 'fields';

export type FieldType =
  | { readonly kind: 'scalar'; readonly scalar: Scalar }
  | { readonly kind: 'ref'; readonly name: string }
  | { readonly kind: 'list'; readonly item: FieldType }
  | { readonly kind: 'map'; readonly value: FieldType };

export interface TypeSchema {
  /** Short and unique, e.g. `PodSpec`. */
  readonly name: string;
  /** As OpenAPI names it, e.g. `io.k8s.api.core.v1.PodSpec`. */
  readonly fullName: string;
  readonly description: string;
  /** Server-side apply replaces the whole object. */
  readonly atomic: boolean;
  readonly fields: ReadonlyMap<string, Field>;
  /** Types whose fields JSON writes flat and protobuf in a message of their own, by number. */
  readonly inlined: ReadonlyMap<number, string>;
}

const SCALARS = new Set<string>([
  ...['string', 'bool', 'int32', 'int64', 'double', 'bytes', 'time', 'microtime', 'quantity', 'intstr'],
  ...['object', 'fields'],
]);

const TYPE_LINE = /^([A-Za-z0-9]+)(?: as ([A-Za-z0-9]+))?( atomic)?:\s*(.*)$/;
const INLINE_LINE = /^ {2}(\d+) inline (\S+)$/;
const FIELD_LINE = /^ {2}(\d+) ([$A-Za-z0-9_-]+)(\*?) (\S+)((?: [a-z]+(?:\([^)]*\))?)*)(?: : (.*))?$/;

/** Throws on a line that it does not understand: the tables are part of the program. */
export function parseSchemas(source: string): TypeSchema[] {
  const types: TypeSchema[] = [];
  let packageName = '';
  let fields = new Map<string, Field>();
  let inlined = new Map<number, string>();
  for (const line of source.split('\n')) {
    if (line.trim() === '') continue;
    if (line.startsWith('package ')) {
      packageName = line.slice('package '.length).trim();
      continue;
    }
    const inline = INLINE_LINE.exec(line);
    if (inline !== null) {
      inlined.set(Number(inline[1]), inline[2] ?? '');
      continue;
    }
    const field = FIELD_LINE.exec(line);
    if (field !== null) {
      const parsed = parseField(field);
      fields.set(parsed.name, parsed);
      continue;
    }
    const type = TYPE_LINE.exec(line);
    if (type === null) throw new Error(`schema: cannot read ${JSON.stringify(line)}`);
    const [, name = '', realName = name, atomic, description = ''] = type;
    fields = new Map();
    inlined = new Map();
    const fullName = `${packageName}.${realName}`;
    types.push({ name, fullName, description, atomic: atomic !== undefined, fields, inlined });
  }
  return types.map((type) => flatten(type, types));
}

/** Inlined fields lose their number: protobuf finds them through `inlined`. */
function flatten(type: TypeSchema, types: readonly TypeSchema[]): TypeSchema {
  if (type.inlined.size === 0) return type;
  const taken = [...type.inlined.values()].flatMap((name) => {
    const other = types.find((candidate) => candidate.name === name);
    if (other === undefined) throw new Error(`schema: ${type.name} inlines ${name}, which is not in the same table`);
    return [...other.fields].map(([key, field]) => [key, { ...field, number: 0 }] as const);
  });
  return { ...type, fields: new Map([...taken, ...type.fields]) };
}

function parseField(match: RegExpExecArray): Field {
  const [, number = '0', name = '', star = '', type = '', flagText = '', description = ''] = match;
  const flags = new Map(
    [...flagText.matchAll(/([a-z]+)(?:\(([^)]*)\))?/g)].map(([, flag = '', value = '']) => [flag, value] as const),
  );
  const mapKeys = flags.get('map')?.split(',');
  const mergeKey = flags.get('merge') ?? flags.get('patch') ?? mapKeys?.[0];
  const parsedType = parseType(type);
  const merges = mapKeys !== undefined || flags.has('set') || flags.has('patch');
  const strategies = [...(merges ? ['merge'] : []), ...(flags.has('retain') ? ['retainKeys'] : [])];
  const listType = mapKeys !== undefined ? 'map' : flags.has('set') ? 'set' : 'atomic';
  return {
    name,
    number: Number(number),
    required: star === '*',
    type: parsedType,
    description,
    ...(parsedType.kind === 'list' ? { listType } : {}),
    ...(mapKeys === undefined ? {} : { mapKeys }),
    atomic: flags.has('atomic'),
    ...(mergeKey === undefined || mergeKey === '' ? {} : { patchMergeKey: mergeKey }),
    patchStrategies: strategies,
    zeroMatters: flags.has('ptr'),
  };
}

function parseType(type: string): FieldType {
  if (type.startsWith('[]')) return { kind: 'list', item: parseType(type.slice(2)) };
  if (type.startsWith('{}')) return { kind: 'map', value: parseType(type.slice(2)) };
  return SCALARS.has(type) ? { kind: 'scalar', scalar: type as Scalar } : { kind: 'ref', name: type };
}
