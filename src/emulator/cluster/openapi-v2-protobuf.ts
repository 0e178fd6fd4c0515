import type { Dict } from './json.js';
import { dict, dicts, isDict, strings, text } from './json.js';

/** kubectl up to 1.28 reads OpenAPI v2 in this form alone. */
export const OPENAPI_V2_PROTOBUF = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

/** Field numbers of gnostic's openapi.v2 messages, which follow the order of the OpenAPI 2.0 schema. */
const DOCUMENT = { swagger: 1, info: 2, paths: 8, definitions: 9 } as const;
const INFO = { title: 1, version: 2 } as const;
const SCHEMA = {
  ref: 1,
  format: 2,
  description: 4,
  required: 19,
  additionalProperties: 21,
  type: 22,
  items: 23,
  properties: 25,
  vendorExtension: 31,
} as const;
const NAMED = { name: 1, value: 2 } as const;
const ANY_YAML = 2;

/** The same document in protobuf. */
export function openApiV2Protobuf(document: Dict): Buffer {
  const info = dict(document['info']);
  const definitions = Object.entries(dict(document['definitions'])).map(([name, schema]) =>
    field(1, Buffer.concat([textField(NAMED.name, name), field(NAMED.value, schemaMessage(dict(schema)))])),
  );
  return Buffer.concat([
    textField(DOCUMENT.swagger, text(document['swagger'])),
    field(
      DOCUMENT.info,
      Buffer.concat([textField(INFO.title, text(info['title'])), textField(INFO.version, text(info['version']))]),
    ),
    field(DOCUMENT.paths, Buffer.alloc(0)),
    field(DOCUMENT.definitions, Buffer.concat(definitions)),
  ]);
}

function schemaMessage(schema: Dict): Buffer {
  const parts: Buffer[] = [];
  const add = (number: number, key: string): void => {
    const value = schema[key];
    if (typeof value === 'string') parts.push(textField(number, value));
  };
  add(SCHEMA.ref, '$ref');
  add(SCHEMA.format, 'format');
  add(SCHEMA.description, 'description');
  for (const name of strings(schema['required'])) parts.push(textField(SCHEMA.required, name));
  if (isDict(schema['additionalProperties'])) {
    parts.push(field(SCHEMA.additionalProperties, field(1, schemaMessage(schema['additionalProperties']))));
  }
  if (typeof schema['type'] === 'string') parts.push(field(SCHEMA.type, textField(1, schema['type'])));
  if (isDict(schema['items'])) parts.push(field(SCHEMA.items, field(1, schemaMessage(schema['items']))));
  const properties = Object.entries(dict(schema['properties']));
  if (properties.length > 0) {
    const named = properties.map(([name, inner]) =>
      field(1, Buffer.concat([textField(NAMED.name, name), field(NAMED.value, schemaMessage(dict(inner)))])),
    );
    parts.push(field(SCHEMA.properties, Buffer.concat(named)));
  }
  for (const [key, value] of Object.entries(schema)) {
    if (!key.startsWith('x-')) continue;
    const any = textField(ANY_YAML, yamlOf(value));
    parts.push(field(SCHEMA.vendorExtension, Buffer.concat([textField(NAMED.name, key), field(NAMED.value, any)])));
  }
  return Buffer.concat(parts);
}

/** JSON is YAML, but kubectl reads lists of words line by line. */
function yamlOf(value: unknown): string {
  return Array.isArray(value) && dicts(value).length === 0
    ? `${value.map((item) => `- ${JSON.stringify(item)}\n`).join('')}`
    : `${JSON.stringify(value)}\n`;
}

function textField(number: number, value: string): Buffer {
  return field(number, Buffer.from(value, 'utf8'));
}

function field(number: number, value: Buffer): Buffer {
  return Buffer.concat([varint(number * 8 + 2), varint(value.length), value]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
