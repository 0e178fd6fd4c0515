import type { WireAnswer } from '../base/errors.js';
import { CodedError, describeError } from '../base/errors.js';

/** metav1.Status, the form in which every Kubernetes client reads a refusal. */
export interface Status {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: Record<string, never>;
  readonly status: 'Success' | 'Failure';
  readonly message?: string;
  readonly reason?: string;
  readonly details?: StatusDetails;
  readonly code?: number;
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly { readonly reason?: string; readonly message?: string; readonly field?: string }[];
  readonly retryAfterSeconds?: number;
}

export function failureStatus(options: {
  code: number;
  reason: string;
  message: string;
  details?: StatusDetails;
}): Status {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: options.message,
    reason: options.reason,
    ...(options.details === undefined ? {} : { details: options.details }),
    code: options.code,
  };
}

/** Any error as the Status its client is to see; an error without a code of ours is a 500 that says so. */
export function statusOfError(error: unknown): Status {
  if (!(error instanceof CodedError)) {
    return failureStatus({
      code: 500,
      reason: 'InternalError',
      message: `connect-gateway-proxy: ${describeError(error)}`,
    });
  }
  const { status, reason, retryAfterSeconds }: WireAnswer = error.answer;
  return failureStatus({
    code: status,
    reason,
    message: error.message,
    details: {
      causes: [{ reason: error.code, message: error.message }],
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    },
  });
}
