import { once } from 'node:events';
import t from 'tap';
import { carriedBy, maskedFrame, sendBinary, sendMessage } from '../../../src/relays/binary-message.js';
import { openWebSocketPair } from '../../support/web-socket-pair.js';

const KEY = Buffer.from('37fa213d', 'hex');
/** On both sides of each form of the length, and of a word. */
const LENGTHS = [0, 1, 3, 4, 5, 7, 8, 125, 126, 127, 4095, 4096, 65_535, 65_536, 65_539];

function counting(length: number, from = 0): Buffer {
  return Buffer.from(Array.from({ length }, (_nothing, index) => (from + index * 7) & 0xff));
}

/** As the standard says it, byte by byte. */
function unmasked(frame: Buffer): { length: number; payload: Buffer } {
  const short = (frame[1] as number) & 0x7f;
  const [length, at] =
    short === 127 ? [Number(frame.readBigUInt64BE(2)), 10] : short === 126 ? [frame.readUInt16BE(2), 4] : [short, 2];
  const key = frame.subarray(at, at + 4);
  return {
    length,
    payload: Buffer.from(frame.subarray(at + 4).map((byte, index) => byte ^ (key[index & 3] as number))),
  };
}

t.test('the example of RFC 6455 5.7, as a binary message', async (t) => {
  t.equal(maskedFrame([Buffer.from('Hello')], KEY).toString('hex'), '828537fa213d7f9f4d5158');
});

t.test('every length, in one part or in several, wherever they stand in memory', async (t) => {
  for (const length of LENGTHS) {
    const payload = counting(length);
    for (const head of [0, 1, 2, 3, 8].filter((bytes) => bytes <= length)) {
      const elsewhere = Buffer.concat([Buffer.alloc(3), payload.subarray(head)]).subarray(3);
      const frame = maskedFrame([payload.subarray(0, head), elsewhere], KEY);
      t.equal(frame[0], 0x82, 'the last and only frame of a binary message');
      t.equal((frame[1] as number) & 0x80, 0x80, 'masked');
      const read = unmasked(frame);
      t.equal(read.length, length);
      if (!read.payload.equals(payload))
        t.fail(`${length} bytes, ${head} of them in a part of their own, came as others`);
    }
  }
});

t.test('the parts themselves are left as they are: somebody may keep them', async (t) => {
  const payload = counting(100);
  maskedFrame([payload], KEY);
  t.ok(payload.equals(counting(100)));
});

for (const role of ['client', 'server'] as const) {
  t.test(`a ${role}'s messages reach a peer of another make whole, and in order among its own`, async (t) => {
    const pair = await openWebSocketPair();
    t.teardown(pair.close);
    const [from, to] = role === 'client' ? [pair.client, pair.server] : [pair.server, pair.client];
    carriedBy(from.webSocket, { socket: from.socket, masks: role === 'client' });
    const got: string[] = [];
    to.webSocket.on('message', (data: Buffer, isBinary) =>
      got.push(`${isBinary ? 'bytes' : 'text'} ${data.toString('hex')}`),
    );
    to.webSocket.on('ping', (data) => got.push(`ping ${data}`));
    const expected: string[] = [];
    for (const length of LENGTHS) {
      const payload = counting(length, length);
      const half = Math.floor(length / 3);
      await new Promise<void>((resolve) => {
        sendBinary(from.webSocket, [payload.subarray(0, half), payload.subarray(half)], resolve);
        from.webSocket.ping(String(length));
        sendMessage(from.webSocket, payload, () => {});
        from.webSocket.send('between');
        sendMessage(from.webSocket, 'as text', () => {});
      });
      const bytes = `bytes ${payload.toString('hex')}`;
      const texts = ['between', 'as text'].map((text) => `text ${Buffer.from(text).toString('hex')}`);
      expected.push(bytes, `ping ${length}`, bytes, ...texts);
    }
    from.webSocket.close(1000);
    await once(to.webSocket, 'close');
    t.strictSame(got, expected);
  });

  t.test(`what a ${role} has not sent yet is counted, and told when it has left`, async (t) => {
    const pair = await openWebSocketPair();
    t.teardown(pair.close);
    const [from, to] = role === 'client' ? [pair.client, pair.server] : [pair.server, pair.client];
    carriedBy(from.webSocket, { socket: from.socket, masks: role === 'client' });
    to.webSocket.pause();
    let sent = 0;
    let left = 0;
    while (from.webSocket.bufferedAmount < 1024 * 1024) {
      sent++;
      sendBinary(from.webSocket, [Buffer.alloc(8), Buffer.alloc(64 * 1024)], () => {
        left++;
      });
      await new Promise(setImmediate);
    }
    t.ok(left < sent, 'some wait');
    let got = 0;
    const all = new Promise<void>((resolve) => {
      to.webSocket.on('message', () => {
        if (++got === sent) resolve();
      });
    });
    to.webSocket.resume();
    await all;
    t.equal(left, sent);
    t.equal(from.webSocket.bufferedAmount, 0);
  });

  t.test(`nothing of a ${role} follows its close frame`, async (t) => {
    const pair = await openWebSocketPair();
    t.teardown(pair.close);
    const [from, to] = role === 'client' ? [pair.client, pair.server] : [pair.server, pair.client];
    carriedBy(from.webSocket, { socket: from.socket, masks: role === 'client' });
    to.webSocket.on('message', () => t.fail('a message after the close'));
    from.webSocket.close(4000, 'enough');
    sendBinary(from.webSocket, [Buffer.from('late')], () => {});
    const [code] = (await once(to.webSocket, 'close')) as [number];
    t.equal(code, 4000);
  });
}

t.test('where nobody has told what carries it, a WebSocket is sent to by its own means', async (t) => {
  const pair = await openWebSocketPair();
  t.teardown(pair.close);
  sendBinary(pair.client.webSocket, [Buffer.from('he'), Buffer.from('llo')], () => {});
  sendBinary(pair.client.webSocket, [Buffer.from('again')], () => {});
  const got: string[] = [];
  await new Promise<void>((resolve) => {
    pair.server.webSocket.on('message', (data: Buffer) => {
      if (got.push(data.toString()) === 2) resolve();
    });
  });
  t.strictSame(got, ['hello', 'again']);
});
