import { EventEmitter } from 'node:events';
import t from 'tap';
import type { WebSocket } from 'ws';
import { ClientReadiness } from '../../../src/relays/remote-command/client-readiness.js';
import { FakeClock } from '../../support/fake-clock.js';

/** A client that answers pings when it is told to. */
class Client extends EventEmitter {
  pings = 0;

  ping(): void {
    this.pings++;
  }
}

function accepted(): { clock: FakeClock; client: Client; readiness: ClientReadiness; told: string[]; tell: Tell } {
  const clock = new FakeClock();
  const client = new Client();
  const readiness = new ClientReadiness({ socket: client as unknown as WebSocket, clock });
  const told: string[] = [];
  const tell = (words: string): void => readiness.whenReady(() => told.push(words), words.length);
  return { clock, client, readiness, told, tell };
}

type Tell = (words: string) => void;

t.test(
  'output that is there with the 101: it waits until the client has answered twice, and comes in its order',
  async (t) => {
    const { clock, client, readiness, told, tell } = accepted();
    tell('first');
    tell('second');
    t.equal(client.pings, 1, 'one question for all of it');
    t.equal(readiness.waitingBytes, 11);
    client.emit('pong', Buffer.alloc(0));
    t.same(told, []);
    t.equal(client.pings, 2);
    client.emit('pong', Buffer.alloc(0));
    t.same(told, ['first', 'second']);
    t.equal(readiness.waitingBytes, 0);
    tell('third');
    t.same(told, ['first', 'second', 'third'], 'from then on at once');
    client.emit('pong', Buffer.alloc(0));
    t.equal(client.pings, 2);
    t.equal(clock.pendingTimers, 0);
  },
);

t.test('a client that speaks first, of its input or its window: it has its streams, and is not asked', async (t) => {
  const { clock, client, told, tell } = accepted();
  client.emit('message', Buffer.of(4));
  tell('output');
  t.same(told, ['output']);
  t.equal(client.pings, 0);
  t.equal(clock.pendingTimers, 0);
});

t.test('a client that speaks while output waits: it comes at once', async (t) => {
  const { clock, client, told, tell } = accepted();
  tell('output');
  client.emit('message', Buffer.of(4));
  t.same(told, ['output']);
  client.emit('pong', Buffer.alloc(0));
  t.equal(client.pings, 1, 'a late pong begins nothing');
  t.equal(clock.pendingTimers, 0);
});

t.test('a client that answers no ping: its output comes after half a second', async (t) => {
  const { clock, told, tell } = accepted();
  tell('output');
  clock.advance(499);
  t.same(told, []);
  clock.advance(1);
  t.same(told, ['output']);
});

t.test('a command that is silent for a second: its client is not asked', async (t) => {
  const { clock, client, told, tell } = accepted();
  t.equal(clock.pendingTimers, 0, 'nothing runs while there is nothing to say');
  clock.advance(1000);
  tell('output');
  t.same(told, ['output']);
  t.equal(client.pings, 0);
});

t.test('whoever ends waits until what it said is on its way, or the client has left', async (t) => {
  const first = accepted();
  await first.readiness.nothingWaits();
  first.tell('last words');
  const onItsWay = first.readiness.nothingWaits();
  first.client.emit('message', Buffer.of(4));
  await onItsWay;
  t.same(first.told, ['last words']);
  await first.readiness.nothingWaits();
  const second = accepted();
  second.tell('last words');
  const gone = second.readiness.nothingWaits();
  second.client.emit('close', 1006, Buffer.alloc(0));
  await gone;
  t.same(second.told, []);
});

t.test('a client that leaves while output waits: it is dropped', async (t) => {
  const { clock, client, readiness, told, tell } = accepted();
  tell('output');
  client.emit('close', 1006, Buffer.alloc(0));
  clock.advance(1000);
  t.same(told, []);
  t.equal(readiness.waitingBytes, 0);
  t.equal(clock.pendingTimers, 0);
  t.same(client.eventNames(), [], 'nothing listens any more');
});
