/** Whole watch events of about so many bytes, as an API server writes them, in chunks that a socket takes at once. */
const CHUNK_BYTES = 256 * 1024;

export const WATCH_TYPES: Readonly<Record<string, string>> = {
  json: 'application/json',
  protobuf: 'application/vnd.kubernetes.protobuf;stream=watch',
};

export function watchChunk(encoding: string, eventBytes: number): Buffer {
  const events: Buffer[] = [];
  for (let bytes = 0, version = 1000; bytes < CHUNK_BYTES; version++) {
    const event = encoding === 'json' ? jsonEvent(version, eventBytes) : protobufEvent(version, eventBytes);
    events.push(event);
    bytes += event.length;
  }
  return Buffer.concat(events);
}

function jsonEvent(version: number, bytes: number): Buffer {
  const metadata = {
    name: 'box',
    namespace: 'default',
    uid: '5d2a5e0e-6f0c-4a39-9b93-0d7d8c0f4f21',
    resourceVersion: String(version),
    creationTimestamp: '2026-11-24T10:00:00Z',
    labels: { app: 'box' },
  };
  // Quotes and backslashes are what a scanner has to look at.
  const spec = { args: [`sh -c "echo \\n ${'word '.repeat(Math.max(0, Math.ceil((bytes - 320) / 5)))}"`] };
  return Buffer.from(
    `${JSON.stringify({ type: 'MODIFIED', object: { kind: 'Pod', apiVersion: 'v1', metadata, spec } })}\n`,
  );
}

function protobufEvent(version: number, bytes: number): Buffer {
  const metadata = Buffer.concat([field(1, 'box'), field(3, 'default'), field(6, String(version))]);
  const pod = Buffer.concat([field(1, metadata), field(2, 'x'.repeat(Math.max(0, bytes - 100)))]);
  const type = Buffer.concat([field(1, 'v1'), field(2, 'Pod')]);
  const object = Buffer.concat([Buffer.from('k8s\0'), field(1, type), field(2, pod)]);
  const body = Buffer.concat([field(1, 'MODIFIED'), field(2, field(1, object))]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

function field(number: number, value: Buffer | string): Buffer {
  const bytes = Buffer.from(value);
  const head = [number * 8 + 2];
  let left = bytes.length;
  for (; left > 127; left >>>= 7) head.push((left & 127) | 128);
  return Buffer.concat([Buffer.from([...head, left]), bytes]);
}
