import type { FieldError } from './api-error.js';
import type { Dict } from './json.js';
import { isDict } from './json.js';
import type { FieldType, Scalar, TypeSchema } from './schema/schema-language.js';
import { schemaOf } from './schema/schemas.js';

export interface FieldFindings {
  /** Paths that the schema does not know; they are dropped from the object. */
  readonly unknown: string[];
  /** What cannot be read at all, e.g. text where a number belongs. */
  readonly mistyped: string[];
  readonly missing: FieldError[];
}

/** Checks an object by its schema and drops what the schema does not know. Open parts are left as they are. */
export function checkFields(object: Dict, type: TypeSchema): FieldFindings {
  const findings: FieldFindings = { unknown: [], mistyped: [], missing: [] };
  checkObject(object, type, '', findings, true);
  return findings;
}

function checkObject(object: Dict, type: TypeSchema, path: string, findings: FieldFindings, root: boolean): void {
  for (const [key, value] of Object.entries(object)) {
    if (root && (key === 'kind' || key === 'apiVersion')) continue;
    const field = type.fields.get(key);
    const at = path === '' ? key : `${path}.${key}`;
    if (field === undefined) {
      findings.unknown.push(at);
      delete object[key];
    } else if (value === null) {
      delete object[key];
    } else {
      checkValue(value, field.type, at, findings, `${type.name}.${at}`);
    }
  }
  for (const field of type.fields.values()) {
    if (!field.required) continue;
    const value = object[field.name];
    const empty = value === undefined || value === '' || (Array.isArray(value) && value.length === 0);
    if (!empty || path.startsWith('status')) continue;
    const at = path === '' ? field.name : `${path}.${field.name}`;
    findings.missing.push({ reason: 'FieldValueRequired', field: at, message: 'Required value' });
  }
}

function checkValue(value: unknown, type: FieldType, path: string, findings: FieldFindings, goField: string): void {
  const wrong = (expected: string): void => {
    const given = Array.isArray(value) ? 'array' : typeof value === 'boolean' ? 'bool' : typeof value;
    findings.mistyped.push(`json: cannot unmarshal ${given} into Go struct field ${goField} of type ${expected}`);
  };
  switch (type.kind) {
    case 'list':
      if (!Array.isArray(value)) {
        wrong(`[]${typeName(type.item)}`);
        return;
      }
      value.forEach((item, index) => {
        checkValue(item, type.item, `${path}[${index}]`, findings, goField);
      });
      return;
    case 'map':
      if (!isDict(value)) {
        wrong(`map[string]${typeName(type.value)}`);
        return;
      }
      for (const [key, inner] of Object.entries(value))
        checkValue(inner, type.value, `${path}.${key}`, findings, goField);
      return;
    case 'ref': {
      const schema = schemaOf(type.name);
      if (schema === undefined) return;
      if (!isDict(value)) {
        wrong(schema.fullName.split('.').slice(-2).join('.'));
        return;
      }
      checkObject(value, schema, path, findings, false);
      return;
    }
    case 'scalar':
      if (!fits(value, type.scalar)) wrong(typeName(type));
  }
}

function typeName(type: FieldType): string {
  if (type.kind === 'ref') return type.name;
  if (type.kind === 'list') return `[]${typeName(type.item)}`;
  if (type.kind === 'map') return `map[string]${typeName(type.value)}`;
  return type.scalar;
}

function fits(value: unknown, scalar: Scalar): boolean {
  switch (scalar) {
    case 'string':
    case 'bytes':
    case 'time':
    case 'microtime':
      return typeof value === 'string';
    case 'bool':
      return typeof value === 'boolean';
    case 'int32':
    case 'int64':
      return typeof value === 'number' && Number.isInteger(value);
    case 'double':
      return typeof value === 'number';
    case 'quantity':
    case 'intstr':
      return typeof value === 'string' || typeof value === 'number';
    case 'object':
    case 'fields':
      return true;
  }
}
