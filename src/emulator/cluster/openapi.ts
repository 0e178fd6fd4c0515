import { createHash } from 'node:crypto';
import type { GroupVersion, ResourceType } from './resource-table.js';
import { apiVersionOf, GROUP_VERSIONS } from './resource-table.js';
import type { Field, FieldType, Scalar, TypeSchema } from './schema/schema-language.js';
import { closureOf, schemaOf } from './schema/schemas.js';

type Schema = Record<string, unknown>;

const SCALAR_SCHEMAS: Readonly<Record<Scalar, Schema>> = {
  string: { type: 'string', default: '' },
  bool: { type: 'boolean' },
  int32: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  double: { type: 'number', format: 'double' },
  bytes: { type: 'string', format: 'byte' },
  time: { type: 'string', format: 'date-time' },
  microtime: { type: 'string', format: 'date-time' },
  quantity: { type: 'string' },
  intstr: { type: 'string', format: 'int-or-string' },
  object: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
  fields: { type: 'object' },
};

/** `/api/v1`, `/apis/apps/v1`: the key in the index, and the place of the document below /openapi/v3. */
export function openApiPaths(): string[] {
  return GROUP_VERSIONS.map(rootOf).map((root) => root.slice(1));
}

function rootOf({ group, version }: GroupVersion): string {
  return group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
}

const documents = new Map<string, { readonly json: string; readonly hash: string }>();

/** The OpenAPI v3 document of one group version, made at its first use. */
export function openApiV3(path: string): { readonly json: string; readonly hash: string } | undefined {
  const groupVersion = GROUP_VERSIONS.find((candidate) => rootOf(candidate) === `/${path}`);
  if (groupVersion === undefined) return undefined;
  let document = documents.get(path);
  if (document === undefined) {
    const schemas = Object.fromEntries(
      [...schemasOf([groupVersion])].map((type) => [type.fullName, typeSchema(type, '#/components/schemas/')]),
    );
    for (const type of groupVersion.resources) {
      schemas[listName(type)] = listSchema(type, '#/components/schemas/');
    }
    const json = JSON.stringify({
      openapi: '3.0.0',
      info: { title: 'Kubernetes', version: 'unversioned' },
      paths: pathsOf(groupVersion),
      components: { schemas },
    });
    document = { json, hash: createHash('sha512').update(json).digest('hex').toUpperCase() };
    documents.set(path, document);
  }
  return document;
}

export function openApiV3Index(): unknown {
  const paths = openApiPaths().map((path) => [
    path,
    { serverRelativeURL: `/openapi/v3/${path}?hash=${openApiV3(path)?.hash ?? ''}` },
  ]);
  return { paths: Object.fromEntries(paths) };
}

let version2: string | undefined;
export function openApiV2(): string {
  version2 ??= JSON.stringify({
    swagger: '2.0',
    info: { title: 'Kubernetes', version: 'unversioned' },
    paths: {},
    definitions: Object.fromEntries(
      [...schemasOf(GROUP_VERSIONS)].map((type) => [type.fullName, typeSchema(type, '#/definitions/')]),
    ),
  });
  return version2;
}

function schemasOf(groupVersions: readonly GroupVersion[]): Iterable<TypeSchema> {
  const found = new Map<string, TypeSchema>();
  for (const name of ['DeleteOptions', 'Status', 'ListMeta', 'Scale']) closureOf(name, found);
  for (const { resources } of groupVersions) for (const { schema } of resources) closureOf(schema, found);
  return found.values();
}

function kindsOf(schema: string): readonly unknown[] {
  return GROUP_VERSIONS.flatMap(({ resources }) => resources)
    .filter((type) => type.schema === schema)
    .map(({ group, version, kind }) => ({ group, version, kind }));
}

function typeSchema(type: TypeSchema, prefix: string): Schema {
  const kinds = kindsOf(type.name);
  const properties: Record<string, Schema> = {};
  if (kinds.length > 0 || type.name === 'Scale') {
    properties['apiVersion'] = { type: 'string', description: 'The version in which the object is written.' };
    properties['kind'] = { type: 'string', description: 'The kind of the object, in CamelCase.' };
  }
  for (const field of type.fields.values()) properties[field.name] = fieldSchema(field, prefix);
  const required = [...type.fields.values()].filter((field) => field.required).map((field) => field.name);
  return {
    description: type.description,
    type: 'object',
    ...(required.length === 0 ? {} : { required }),
    properties,
    ...(type.atomic ? { 'x-kubernetes-map-type': 'atomic' } : {}),
    ...(kinds.length === 0 ? {} : { 'x-kubernetes-group-version-kind': kinds }),
  };
}

function fieldSchema(field: Field, prefix: string): Schema {
  const [strategy] = field.patchStrategies;
  return {
    description: field.description,
    ...valueSchema(field.type, prefix),
    ...(field.listType === undefined ? {} : { 'x-kubernetes-list-type': field.listType }),
    ...(field.mapKeys === undefined ? {} : { 'x-kubernetes-list-map-keys': field.mapKeys }),
    ...(field.atomic && field.type.kind === 'map' ? { 'x-kubernetes-map-type': 'atomic' } : {}),
    ...(field.patchMergeKey === undefined ? {} : { 'x-kubernetes-patch-merge-key': field.patchMergeKey }),
    ...(strategy === undefined ? {} : { 'x-kubernetes-patch-strategy': field.patchStrategies.join(',') }),
  };
}

function valueSchema(type: FieldType, prefix: string): Schema {
  switch (type.kind) {
    case 'scalar':
      return withoutDefault(SCALAR_SCHEMAS[type.scalar]);
    case 'list':
      return { type: 'array', items: valueSchema(type.item, prefix) };
    case 'map':
      return { type: 'object', additionalProperties: valueSchema(type.value, prefix) };
    case 'ref': {
      const target = schemaOf(type.name);
      if (target === undefined) return SCALAR_SCHEMAS.object;
      const $ref = `${prefix}${target.fullName}`;
      // OpenAPI v3 allows nothing beside $ref; real servers wrap it too.
      return prefix.startsWith('#/components') ? { allOf: [{ $ref }] } : { $ref };
    }
  }
}

function withoutDefault({ default: _default, ...schema }: Schema): Schema {
  return schema;
}

function listName(type: ResourceType): string {
  return `${schemaOf(type.schema)?.fullName ?? type.kind}List`;
}

function listSchema(type: ResourceType, prefix: string): Schema {
  return {
    description: `${type.kind}List is a list of ${type.kind} objects.`,
    type: 'object',
    required: ['items'],
    properties: {
      apiVersion: { type: 'string', description: 'The version in which the object is written.' },
      items: {
        type: 'array',
        items: valueSchema({ kind: 'ref', name: type.schema }, prefix),
        description: 'The objects.',
      },
      kind: { type: 'string', description: 'The kind of the object, in CamelCase.' },
      metadata: { ...valueSchema({ kind: 'ref', name: 'ListMeta' }, prefix), description: 'Standard list metadata.' },
    },
    'x-kubernetes-group-version-kind': [{ group: type.group, version: type.version, kind: `${type.kind}List` }],
  };
}

const WRITE_PARAMETERS = ['dryRun', 'fieldManager', 'fieldValidation', 'pretty'];
/** Without strategic-merge here kubectl computes patches from its own types, which are more complete than ours. */
const PATCH_TYPES = ['application/apply-patch+yaml', 'application/json-patch+json', 'application/merge-patch+json'];

function pathsOf(groupVersion: GroupVersion): Record<string, unknown> {
  const paths: Record<string, unknown> = {};
  for (const type of groupVersion.resources) {
    const base = `${rootOf(groupVersion)}${type.namespaced ? '/namespaces/{namespace}' : ''}/${type.plural}`;
    const collection: Record<string, unknown> = {};
    const single: Record<string, unknown> = {};
    for (const verb of type.verbs) {
      if (verb === 'list') collection['get'] = operation(type, 'list', []);
      if (verb === 'create') collection['post'] = operation(type, 'post', WRITE_PARAMETERS);
      if (verb === 'get') single['get'] = operation(type, 'get', ['pretty']);
      if (verb === 'update') single['put'] = operation(type, 'put', WRITE_PARAMETERS);
      if (verb === 'patch') single['patch'] = operation(type, 'patch', [...WRITE_PARAMETERS, 'force']);
      if (verb === 'delete') single['delete'] = operation(type, 'delete', ['dryRun', 'gracePeriodSeconds']);
    }
    paths[base] = collection;
    if (Object.keys(single).length > 0) paths[`${base}/{name}`] = single;
  }
  return paths;
}

function operation(type: ResourceType, action: string, parameters: readonly string[]): unknown {
  const { group, version, kind } = type;
  const schema = { $ref: `#/components/schemas/${schemaOf(type.schema)?.fullName ?? ''}` };
  const json = { 'application/json': { schema } };
  const body =
    action === 'patch'
      ? Object.fromEntries(PATCH_TYPES.map((mediaType) => [mediaType, { schema: { type: 'object' } }]))
      : action === 'post' || action === 'put'
        ? { '*/*': { schema } }
        : undefined;
  return {
    operationId: `${action}${apiVersionOf(type)}${type.kind}`.replace(/[^A-Za-z0-9]/g, ''),
    parameters: parameters.map((name) => ({ name, in: 'query', schema: { type: 'string', uniqueItems: true } })),
    ...(body === undefined ? {} : { requestBody: { content: body } }),
    responses: { 200: { description: 'OK', content: json } },
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': { group, version, kind },
  };
}
