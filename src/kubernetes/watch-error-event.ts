import type { Status, StatusDetails } from './status.js';

/** An ERROR event that carries `status`, framed for a watch in this encoding; undefined for one that we do not write. */
export function watchErrorEvent(contentType: string, status: Status): Buffer | undefined {
  const media = contentType.toLowerCase();
  if (media.startsWith('application/json'))
    return Buffer.from(`${JSON.stringify({ type: 'ERROR', object: status })}\n`);
  if (!media.startsWith('application/vnd.kubernetes.protobuf')) return undefined;
  const typeMeta = Buffer.concat([bytesField(1, status.apiVersion), bytesField(2, status.kind)]);
  // Servers write content encoding and type though they are empty; so do we.
  const unknown = Buffer.concat([
    bytesField(1, typeMeta),
    bytesField(2, encodedStatus(status)),
    bytesField(3, ''),
    bytesField(4, ''),
  ]);
  const object = bytesField(1, Buffer.concat([Buffer.from('k8s\0', 'latin1'), unknown]));
  const event = Buffer.concat([bytesField(1, 'ERROR'), bytesField(2, object)]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(event.length);
  return Buffer.concat([length, event]);
}

/** Field numbers of metav1.Status, StatusDetails and StatusCause, from apimachinery's generated.proto. */
function encodedStatus({ status, message, reason, details, code }: Status): Buffer {
  return Buffer.concat([
    bytesField(1, Buffer.concat([1, 2, 3].map((number) => bytesField(number, '')))),
    bytesField(2, status),
    bytesField(3, message ?? ''),
    bytesField(4, reason ?? ''),
    ...(details === undefined ? [] : [bytesField(5, encodedDetails(details))]),
    intField(6, code ?? 0),
  ]);
}

function encodedDetails({ name, group, kind, causes = [], uid, retryAfterSeconds }: StatusDetails): Buffer {
  return Buffer.concat([
    bytesField(1, name ?? ''),
    bytesField(2, group ?? ''),
    bytesField(3, kind ?? ''),
    ...causes.map((cause) =>
      bytesField(
        4,
        Buffer.concat([
          bytesField(1, cause.reason ?? ''),
          bytesField(2, cause.message ?? ''),
          bytesField(3, cause.field ?? ''),
        ]),
      ),
    ),
    intField(5, retryAfterSeconds ?? 0),
    bytesField(6, uid ?? ''),
  ]);
}

function bytesField(number: number, value: Buffer | string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

function intField(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8), varint(value)]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 0x80);
  return Buffer.from([...bytes, rest]);
}
