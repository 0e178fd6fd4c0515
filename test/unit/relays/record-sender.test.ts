import { EventEmitter } from 'node:events';
import t from 'tap';
import type { WebSocket } from 'ws';
import { RecordSender } from '../../../src/relays/remote-command/record-sender.js';

/** A socket whose writes end when the test says so. */
class SlowSocket extends EventEmitter {
  readonly OPEN = 1;
  readonly CLOSED = 3;
  readyState = this.OPEN;
  readonly said: string[] = [];
  readonly #underWay: (() => void)[] = [];

  send(data: Buffer | string, onSent: () => void): void {
    this.said.push(data.toString());
    this.#underWay.push(onSent);
  }

  close(code: number, reason?: Buffer | string): void {
    this.said.push(`close ${code} ${reason ?? ''}`.trim());
  }

  pong(): void {
    this.said.push('pong');
  }

  writeEnds(): void {
    this.#underWay.shift()?.();
  }
}

function scene(): { socket: SlowSocket; sender: RecordSender; sent: string[]; send(text: string): void } {
  const socket = new SlowSocket();
  const sender = new RecordSender(socket as unknown as WebSocket);
  const sent: string[] = [];
  return { socket, sender, sent, send: (text) => sender.send(Buffer.from(text), () => sent.push(text)) };
}

t.test('messages that share a record: a pong follows when all are written', async (t) => {
  const { socket, sender, sent, send } = scene();
  for (const text of ['out', 'err', 'more']) send(text);
  t.strictSame(socket.said, ['out', 'err', 'more'], 'nothing is held back');
  let isIdle = false;
  const idle = sender.idle().then(() => {
    isIdle = true;
  });
  socket.writeEnds();
  socket.writeEnds();
  await Promise.resolve();
  t.equal(isIdle, false);
  t.equal(socket.said.length, 3);
  socket.writeEnds();
  await idle;
  t.strictSame(sent, ['out', 'err', 'more']);
  t.strictSame(socket.said, ['out', 'err', 'more', 'pong']);
  send('alone');
  socket.writeEnds();
  t.equal(socket.said.at(-1), 'alone', 'no pong but for a shared record');
});

t.test('one message behind another has a record of its own: nothing follows', async (t) => {
  const { socket, sender, send } = scene();
  await sender.idle();
  send('first');
  send('second');
  socket.writeEnds();
  send('third');
  socket.writeEnds();
  socket.writeEnds();
  await sender.idle();
  t.strictSame(socket.said, ['first', 'second', 'third']);
});

t.test('the close frame leaves when all is written, and is the record that follows', (t) => {
  const { socket, sender, send } = scene();
  for (const text of ['out', 'err', 'status']) send(text);
  sender.close(1000, 'done');
  sender.close(1011, 'too late');
  socket.writeEnds();
  socket.writeEnds();
  t.equal(socket.said.length, 3);
  socket.writeEnds();
  t.strictSame(socket.said, ['out', 'err', 'status', 'close 1000 done']);
  t.end();
});

t.test('where nothing is under way, the close frame leaves at once', (t) => {
  const { socket, sender } = scene();
  sender.close(1000);
  t.strictSame(socket.said, ['close 1000']);
  t.end();
});

t.test('what is sent for the drain of the last message counts before the pong', (t) => {
  const socket = new SlowSocket();
  const sender = new RecordSender(socket as unknown as WebSocket);
  sender.send('first', () => {});
  sender.send('second', () => {});
  sender.send('third', () => sender.send('fourth', () => {}));
  for (const _ of [1, 2, 3]) socket.writeEnds();
  t.strictSame(socket.said, ['first', 'second', 'third', 'fourth']);
  socket.writeEnds();
  t.strictSame(socket.said, ['first', 'second', 'third', 'fourth', 'pong']);
  t.end();
});

t.test('a client that leaves: nobody waits for its writes, and nothing follows them', async (t) => {
  const { socket, sender, send } = scene();
  for (const text of ['out', 'err', 'lost']) send(text);
  const idle = sender.idle();
  socket.readyState = socket.CLOSED;
  socket.emit('close');
  await idle;
  // ws ends what was under way by an error, to the same callbacks.
  for (const _ of [1, 2, 3]) socket.writeEnds();
  t.strictSame(socket.said, ['out', 'err', 'lost']);
  await sender.idle();
});
