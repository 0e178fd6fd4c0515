import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse } from 'yaml';
import { ApiError, badRequest, notAcceptable, statusFor, unsupportedMediaType } from '../api-error.js';
import type { Dict } from '../json.js';
import { isDict } from '../json.js';
import { decodeProtobufObject } from '../protobuf-bodies.js';

/** etcd's own limit is 1.5 MB; the real API server reads 3 MB. */
const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** In which form an answer's objects are wanted. */
export type Form =
  | { readonly kind: 'object' }
  | { readonly kind: 'table' }
  | { readonly kind: 'partial' }
  | { readonly kind: 'discovery'; readonly version: 'v2' | 'v2beta1' };

/** The first JSON form that the client takes: protobuf is never answered, as by a server that has it switched off. */
export function negotiate(accept: string | undefined): Form {
  for (const range of (accept ?? '*/*').split(',')) {
    const [media = '', ...parameters] = range.split(';').map((part) => part.trim());
    if (!['application/json', '*/*', 'application/*', ''].includes(media)) continue;
    const values = new Map(parameters.map((part) => part.split('=') as [string, string]));
    const as = values.get('as');
    if (as === undefined) return { kind: 'object' };
    if (as === 'Table') return { kind: 'table' };
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') return { kind: 'partial' };
    const version = values.get('v');
    if (as === 'APIGroupDiscoveryList' && (version === 'v2' || version === 'v2beta1'))
      return { kind: 'discovery', version };
  }
  throw notAcceptable(['application/json']);
}

/** The whole body as an object; `fallback` where there is none. Throws ApiErrors for what cannot be read. */
export async function readObject(request: IncomingMessage, fallback?: Dict): Promise<Dict> {
  const body = await readBody(request);
  if (body.length === 0 && fallback !== undefined) return fallback;
  const type = mediaType(request);
  if (type === 'application/vnd.kubernetes.protobuf') return decodeProtobufObject(body);
  const value = parseText(body, type);
  if (!isDict(value)) throw badRequest('the body of the request is no object');
  return value;
}

/** A patch may be a list. */
export async function readPatch(request: IncomingMessage): Promise<{ type: string; patch: unknown }> {
  const type = mediaType(request);
  const body = await readBody(request);
  return { type, patch: parseText(body, type.endsWith('+yaml') ? 'application/yaml' : 'application/json') };
}

function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

function parseText(body: Buffer, type: string): unknown {
  try {
    if (type === 'application/yaml') return parse(body.toString('utf8'));
    if (type === 'application/json' || type === '') return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw badRequest(
      `the body of the request cannot be parsed: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  throw unsupportedMediaType(type, ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > MAX_BODY_BYTES) {
      throw new ApiError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${MAX_BODY_BYTES}`);
    }
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

export function sendJson(
  response: ServerResponse,
  value: unknown,
  options: { status?: number; warnings?: readonly string[]; contentType?: string } = {},
): void {
  if (response.headersSent || response.destroyed) return;
  const body = typeof value === 'string' ? value : `${JSON.stringify(value)}\n`;
  if (options.warnings !== undefined && options.warnings.length > 0) {
    response.setHeader(
      'Warning',
      options.warnings.map((warning) => `299 - ${JSON.stringify(warning)}`),
    );
  }
  response.writeHead(options.status ?? 200, {
    'Content-Type': options.contentType ?? 'application/json',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-cache, private',
  });
  response.end(body);
}

export function sendError(response: ServerResponse, error: unknown): void {
  const status = statusFor(error);
  if (response.headersSent) response.destroy();
  else sendJson(response, status, { status: status.code ?? 500 });
}
