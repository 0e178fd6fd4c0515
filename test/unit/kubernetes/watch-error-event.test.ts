import t from 'tap';
import { failureStatus } from '../../../src/kubernetes/status.js';
import { watchErrorEvent } from '../../../src/kubernetes/watch-error-event.js';
import { watchEventDecoder } from '../../../src/kubernetes/watch-events.js';

const EXPIRED = failureStatus({
  code: 410,
  reason: 'Expired',
  message: 'too old resource version: 1 (327)',
});

t.test('the bytes are those of a real API server (captures/real-1.36/watch-expired-*.txt)', async (t) => {
  t.equal(
    watchErrorEvent('application/json', EXPIRED)?.toString(),
    '{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 1 (327)","reason":"Expired","code":410}}\n',
  );
  t.equal(
    watchErrorEvent('application/vnd.kubernetes.protobuf;stream=watch', EXPIRED)?.toString('hex'),
    '000000630a054552524f52125a0a586b3873000a0c0a0276311206537461747573' +
      '12400a060a0012001a0012074661696c7572651a21746f6f206f6c64207265736f757263652076657273696f6e3a20312028333237292207457870697265' +
      '64309a031a002200',
  );
});

t.test('causes and the pause go with it, and our own decoder reads it', async (t) => {
  const status = failureStatus({
    code: 429,
    reason: 'TooManyRequests',
    message: 'x'.repeat(300),
    details: { causes: [{ reason: 'request-quota', message: 'm' }], retryAfterSeconds: 6 },
  });
  const media = 'application/vnd.kubernetes.protobuf;stream=watch';
  const event = watchErrorEvent(media, status) ?? Buffer.alloc(0);
  t.match(watchEventDecoder(media)?.push(event), [{ type: 'ERROR', bytes: event }]);
  t.ok(event.includes('request-quota'));
  t.equal(watchErrorEvent('application/cbor-seq', status), undefined);
});
