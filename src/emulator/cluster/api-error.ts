import { CodedError } from '../../base/errors.js';
import type { Status, StatusDetails } from '../../kubernetes/status.js';
import { failureStatus, statusOfError } from '../../kubernetes/status.js';

export interface TypeName {
  readonly group: string;
  readonly kind: string;
  readonly plural: string;
}

/** A refusal in the words of the real API server. */
export class ApiError extends CodedError {
  readonly status: Status;

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super({ code: `emulator-${reason.toLowerCase()}`, message, answer: { status: code, reason } });
    this.name = 'ApiError';
    this.status = failureStatus({ code, reason, message, ...(details === undefined ? {} : { details }) });
  }
}

export function statusFor(error: unknown): Status {
  return error instanceof ApiError ? error.status : statusOfError(error);
}

/** `pods` or `deployments.apps`. */
export function qualified(type: TypeName): string {
  return type.group === '' ? type.plural : `${type.plural}.${type.group}`;
}

function named(type: TypeName, name: string): StatusDetails {
  return { ...(name === '' ? {} : { name }), ...(type.group === '' ? {} : { group: type.group }), kind: type.plural };
}

export function notFound(type: TypeName, name: string): ApiError {
  return new ApiError(404, 'NotFound', `${qualified(type)} "${name}" not found`, named(type, name));
}

/** What an unknown path is answered with. */
export function noSuchPath(): ApiError {
  return new ApiError(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function alreadyExists(type: TypeName, name: string): ApiError {
  return new ApiError(409, 'AlreadyExists', `${qualified(type)} "${name}" already exists`, named(type, name));
}

export function conflict(type: TypeName, name: string, why = MODIFIED): ApiError {
  const message = `Operation cannot be fulfilled on ${qualified(type)} "${name}": ${why}`;
  return new ApiError(409, 'Conflict', message, named(type, name));
}
const MODIFIED = 'the object has been modified; please apply your changes to the latest version and try again';

export interface FieldError {
  readonly reason: 'FieldValueRequired' | 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueNotSupported';
  readonly field: string;
  /** Without the field, e.g. `Required value`. */
  readonly message: string;
}

export function invalid(type: TypeName, name: string, errors: readonly FieldError[]): ApiError {
  const told = errors.map((error) => `${error.field}: ${error.message}`);
  const all = told.length === 1 ? told.join('') : `[${told.join(', ')}]`;
  const kind = type.group === '' ? type.kind : `${type.kind}.${type.group}`;
  return new ApiError(422, 'Invalid', `${kind} "${name}" is invalid: ${all}`, {
    ...named({ ...type, plural: type.kind }, name),
    causes: errors.map(({ reason, message, field }) => ({ reason, message, field })),
  });
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, 'BadRequest', message);
}

export function methodNotAllowed(): ApiError {
  return new ApiError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});
}

export function forbidden(type: { group: string; plural: string }, name: string, message: string): ApiError {
  const target = name === '' ? qualified({ ...type, kind: '' }) : `${qualified({ ...type, kind: '' })} "${name}"`;
  return new ApiError(403, 'Forbidden', `${target} is forbidden: ${message}`, named({ ...type, kind: '' }, name));
}

export function expired(message: string): ApiError {
  return new ApiError(410, 'Expired', message);
}

export function unsupportedMediaType(given: string, accepted: readonly string[]): ApiError {
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`;
  return new ApiError(415, 'UnsupportedMediaType', given === '' ? `${message} (no Content-Type)` : message);
}

export function notAcceptable(accepted: readonly string[]): ApiError {
  const message = `only the following media types are accepted: ${accepted.join(', ')}`;
  return new ApiError(406, 'NotAcceptable', message);
}
