import t from 'tap';
import type { RemoteProtocol } from '../../../src/kubernetes/remote-command.js';
import {
  CHANNEL,
  chooseRemoteProtocol,
  closeMessage,
  exitStatus,
  formatRemoteStatus,
  formatResize,
  internalErrorStatus,
  joinChannelMessage,
  parseRemoteStatus,
  parseResize,
  REMOTE_PROTOCOLS,
  splitChannelMessage,
} from '../../../src/kubernetes/remote-command.js';

function protocol(name: string): RemoteProtocol {
  const found = chooseRemoteProtocol([name]);
  if (found === undefined) throw new Error(`no protocol ${name}`);
  return found;
}

const V5 = protocol('v5.channel.k8s.io');
const V4 = protocol('v4.channel.k8s.io');
const PLAIN = protocol('channel.k8s.io');
const BASE64 = protocol('v4.base64.channel.k8s.io');

t.test('the first known offer of the client is taken', async (t) => {
  t.equal(chooseRemoteProtocol(['v4.channel.k8s.io', 'v5.channel.k8s.io'])?.name, 'v4.channel.k8s.io');
  t.equal(chooseRemoteProtocol(['v9.channel.k8s.io', 'base64.channel.k8s.io'])?.name, 'base64.channel.k8s.io');
  t.equal(chooseRemoteProtocol(['SPDY/3.1+portforward.k8s.io']), undefined);
  t.equal(chooseRemoteProtocol([]), undefined);
});

t.test('what each subprotocol can say', async (t) => {
  const traits = REMOTE_PROTOCOLS.map(({ name, base64, statusAsJson, halfClose }) =>
    [name, base64 && 'base64', statusAsJson && 'json', halfClose && 'half-close'].filter(Boolean).join(' '),
  );
  t.same(traits, [
    'v5.channel.k8s.io json half-close',
    'v4.channel.k8s.io json',
    'v4.base64.channel.k8s.io base64 json',
    'v3.channel.k8s.io',
    'v2.channel.k8s.io',
    'channel.k8s.io',
    'base64.channel.k8s.io base64',
  ]);
});

t.test('channel messages are the recorded bytes', async (t) => {
  t.same(joinChannelMessage(V5, CHANNEL.stdout, Buffer.from('hi\n')), Buffer.from('0168690a', 'hex'));
  t.same(joinChannelMessage(V5, CHANNEL.stdout, Buffer.alloc(0)), Buffer.from('01', 'hex'));
  t.equal(joinChannelMessage(BASE64, CHANNEL.stdout, Buffer.from('hi\n')), '1aGkK');
  t.equal(joinChannelMessage(BASE64, CHANNEL.stdout, Buffer.alloc(0)), '1');
  t.same(closeMessage(CHANNEL.stdin), Buffer.from('ff00', 'hex'));
  t.same(splitChannelMessage(V5, Buffer.from('ff00', 'hex')), { channel: CHANNEL.close, payload: Buffer.of(0) });
  t.same(
    splitChannelMessage(V5, Buffer.of(9)),
    { channel: 9, payload: Buffer.alloc(0) },
    'unknown channels are the caller’s to judge',
  );
});

t.test('messages of any bytes come back as they were', async (t) => {
  const payload = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  for (const each of REMOTE_PROTOCOLS) {
    for (const channel of [0, 1, 2, 3, 4]) {
      for (const bytes of [payload, Buffer.alloc(0), Buffer.of(0), Buffer.alloc(40_000, 'x')]) {
        const joined = joinChannelMessage(each, channel, bytes);
        t.equal(typeof joined, each.base64 ? 'string' : 'object');
        const back = splitChannelMessage(each, Buffer.from(joined as string));
        if (back.channel !== channel || !back.payload.equals(bytes)) t.fail(`${each.name} ${channel} ${bytes.length}`);
      }
    }
  }
});

t.test('a message that is none is refused', async (t) => {
  const code = 'remote-command-bad-message';
  t.throws(() => splitChannelMessage(V5, Buffer.alloc(0)), { code });
  t.throws(() => splitChannelMessage(BASE64, Buffer.alloc(0)), { code });
  t.throws(() => splitChannelMessage(BASE64, Buffer.from('xaGkK')), { code });
  t.throws(() => splitChannelMessage(BASE64, Buffer.from('1a+*K')), { code });
});

t.test('a resize is the JSON line of kubectl', async (t) => {
  t.equal(formatResize({ columns: 80, rows: 24 }).toString(), '{"Width":80,"Height":24}\n');
  t.same(parseResize(Buffer.from('{"Width":80,"Height":24}\n')), { columns: 80, rows: 24 });
  t.same(parseResize(formatResize({ columns: 0, rows: 65535 })), { columns: 0, rows: 65535 });
  for (const text of [
    '',
    'x',
    'null',
    '7',
    '[]',
    '{}',
    '{"Width":80}',
    '{"Width":-1,"Height":2}',
    '{"Width":1.5,"Height":2}',
    '{"Width":70000,"Height":2}',
    '{"Width":"80","Height":"24"}',
  ]) {
    t.equal(parseResize(Buffer.from(text)), undefined, JSON.stringify(text));
  }
});

t.test('exit codes are told in the words that a real server used', async (t) => {
  const command = ['sh', '-c', 'echo hi;exit 3'];
  t.equal(
    formatRemoteStatus(V5, exitStatus(V5, 3, command))?.toString(),
    '{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}',
  );
  t.match(exitStatus(V4, 3, command), {
    message: 'command terminated with non-zero exit code: error executing command [sh -c echo hi;exit 3], exit code 3',
  });
  t.equal(
    formatRemoteStatus(PLAIN, exitStatus(PLAIN, 3, command))?.toString(),
    'command terminated with non-zero exit code: error executing command [sh -c echo hi;exit 3], exit code 3',
  );
  t.equal(formatRemoteStatus(V4, exitStatus(V4, 0, command))?.toString(), '{"metadata":{},"status":"Success"}');
  t.equal(formatRemoteStatus(PLAIN, exitStatus(PLAIN, 0, command)), undefined, 'success is silence there');
  t.same(internalErrorStatus('lost'), {
    metadata: {},
    status: 'Failure',
    message: 'Internal error occurred: lost',
    reason: 'InternalError',
    details: { causes: [{ message: 'lost' }] },
    code: 500,
  });
});

t.test('a Status is read as kubectl reads it', async (t) => {
  const read = (value: unknown) =>
    parseRemoteStatus(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)));
  const failure = (message: string, causes: unknown) => ({
    status: 'Failure',
    message,
    reason: 'NonZeroExitCode',
    details: { causes },
  });
  t.same(read({ metadata: {}, status: 'Success' }), { exitCode: 0 });
  for (const code of [1, 3, 137, 255]) t.match(read(exitStatus(V5, code, [])), { exitCode: code });
  t.same(read({ status: 'Failure', message: 'no' }), { exitCode: 1, message: 'no' });
  t.same(read(internalErrorStatus('x')), { exitCode: 1, message: 'Internal error occurred: x' });
  t.same(read('command terminated'), { exitCode: 1, message: 'command terminated' }, 'plain text of the old protocols');
  t.same(read('{"status":"Fai'), { exitCode: 1, message: '{"status":"Fai' });
  t.same(read(''), { exitCode: 1, message: '' });
  t.same(read('null'), { exitCode: 1, message: 'null' });
  t.same(read('{}'), { exitCode: 1, message: '{}' });
  t.match(read(failure('m', [{ reason: 'Other', message: '9' }])), { exitCode: 1 });
  for (const causes of [undefined, 7, [], [null], [{ reason: 'ExitCode' }]])
    t.match(read(failure('m', causes)), { exitCode: 1 });
  for (const message of ['0', '256', '-1', '3x', '1e2', 3]) {
    t.match(
      read(failure('m', [{ reason: 'ExitCode', message }])),
      { exitCode: 1 },
      'never a success, never out of range',
    );
  }
});
