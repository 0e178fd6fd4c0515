import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse } from 'yaml';
import { ApiError, badRequest, notAcceptable, statusFor, unsupportedMediaType } from '../api-error.js';
import type { Dict } from '../json.js';
import { isDict } from '../json.js';
import { decodeProtobufObject } from '../protobuf-bodies.js';

/** As many as the real API server reads. */
const MAX_BODY_BYTES = 3 * 1024 * 1024;
/** All Warning headers of an answer together: clients give all headers together 16 KiB or more. */
const MAX_WARNING_BYTES = 4096;

/** In which form an answer's objects are wanted. */
export type Form =
  | { readonly kind: 'object' }
  | { readonly kind: 'table' }
  | { readonly kind: 'partial' }
  | { readonly kind: 'discovery'; readonly version: 'v2' | 'v2beta1' };

const JSON_RANGES = ['application/json', 'application/*', '*/*'];

/** The JSON form that the client likes best: protobuf is never answered, as by a server that has it switched off. */
export function negotiate(accept: string | undefined): Form {
  const ranges = (accept === undefined || accept.trim() === '' ? '*/*' : accept).split(',').map(readRange);
  const liked = ranges.filter(({ quality }) => quality > 0).sort((a, b) => b.quality - a.quality);
  for (const { media, parameters } of liked) {
    const form = JSON_RANGES.includes(media) ? formOf(parameters) : undefined;
    if (form !== undefined) return form;
  }
  throw notAcceptable(['application/json']);
}

interface MediaRange {
  readonly media: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

function readRange(range: string): MediaRange {
  const [media = '', ...rest] = range.split(';').map((part) => part.trim());
  const parameters = new Map(
    rest.map((part) => {
      const [key = '', value = ''] = part.split('=');
      return [key.trim().toLowerCase(), value.trim()] as const;
    }),
  );
  const quality = Number(parameters.get('q') ?? 1);
  return { media: media.toLowerCase(), parameters, quality: Number.isNaN(quality) ? 0 : quality };
}

function formOf(parameters: ReadonlyMap<string, string>): Form | undefined {
  const as = parameters.get('as');
  const group = parameters.get('g');
  const version = parameters.get('v');
  if (as === undefined) return { kind: 'object' };
  if (group === 'meta.k8s.io' && (version === 'v1' || version === 'v1beta1')) {
    if (as === 'Table') return { kind: 'table' };
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') return { kind: 'partial' };
  }
  if (group === 'apidiscovery.k8s.io' && as === 'APIGroupDiscoveryList') {
    if (version === 'v2' || version === 'v2beta1') return { kind: 'discovery', version };
  }
  return undefined;
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
  if (!PATCH_TYPES.includes(type)) {
    request.resume();
    throw unsupportedMediaType(type, PATCH_TYPES);
  }
  const body = await readBody(request);
  return { type, patch: parseText(body, type.endsWith('+yaml') ? 'application/yaml' : 'application/json') };
}

const PATCH_TYPES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
];

function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

function parseText(body: Buffer, type: string): unknown {
  try {
    if (type === 'application/yaml') return parse(body.toString('utf8'));
    if (type === 'application/json' || type === '') return JSON.parse(body.toString('utf8'));
  } catch (error) {
    // Parsers quote what they could not read, which may be a secret.
    const at = error instanceof Error ? (/(?:position|line) \d+/.exec(error.message)?.[0] ?? '') : '';
    const where = at === '' ? '' : ` (at ${at})`;
    throw badRequest(`the body of the request is no valid ${type === 'application/yaml' ? 'YAML' : 'JSON'}${where}`);
  }
  throw unsupportedMediaType(type, ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES ? Number.POSITIVE_INFINITY : 0;
  if (bytes <= MAX_BODY_BYTES) {
    // Destroying the request would take the answer's socket with it.
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      bytes += (chunk as Buffer).length;
      if (bytes > MAX_BODY_BYTES) break;
      chunks.push(chunk as Buffer);
    }
  }
  if (bytes <= MAX_BODY_BYTES) return Buffer.concat(chunks);
  // Read to the end, but not kept: a client that is still sending would else see a reset instead of the answer.
  request.resume();
  throw new ApiError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${MAX_BODY_BYTES}`);
}

export interface SendOptions {
  readonly status?: number;
  readonly warnings?: readonly string[];
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Sends a value as JSON, and a string as it is. */
export function sendJson(response: ServerResponse, value: unknown, options: SendOptions = {}): void {
  if (response.headersSent || response.destroyed) return;
  const body = typeof value === 'string' ? value : `${JSON.stringify(value)}\n`;
  const warnings = warningHeaders(options.warnings ?? []);
  if (warnings.length > 0) response.setHeader('Warning', warnings);
  response.writeHead(options.status ?? 200, {
    'Content-Type': options.contentType ?? 'application/json',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-cache, private',
    ...options.headers,
  });
  response.end(body);
}

/** A header is one line of ASCII. */
function warningHeaders(warnings: readonly string[]): string[] {
  let room = MAX_WARNING_BYTES;
  return [...new Set(warnings)]
    .map((warning) => `299 - ${JSON.stringify(warning).replace(/[^\x20-\x7e]/g, '?')}`)
    .filter((header) => {
      room -= header.length;
      return room >= 0;
    });
}

export function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const status = statusFor(error);
  const seconds = status.details?.retryAfterSeconds ?? 0;
  sendJson(response, status, {
    status: status.code ?? 500,
    ...(seconds > 0 ? { headers: { 'Retry-After': String(seconds) } } : {}),
  });
}
