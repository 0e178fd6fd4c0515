import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { Turns } from '../../../src/frontdoor/turns.js';

class Answer extends EventEmitter {
  readonly req: { readonly socket: Duplex };
  readonly payload: unknown[];
  headersSent = false;
  writableEnded = false;
  writableFinished = false;

  constructor(socket: Duplex, size = 0) {
    super();
    this.req = { socket };
    this.payload = new Array(size).fill(0);
  }

  over(): void {
    this.writableFinished = true;
    this.emit('close');
  }
}

const connection = (): Duplex =>
  Object.assign(new EventEmitter(), { destroyed: false, closed: false, writableEnded: false }) as unknown as Duplex;
const answer = (socket: Duplex): Answer & ServerResponse => new Answer(socket) as Answer & ServerResponse;

function take(turns: Turns, response: Answer & ServerResponse, begun: Answer[]): void {
  turns.take(response, () => begun.push(response));
}

t.test('the answers of one connection begin one after the other, those of others beside them', async (t) => {
  const turns = new Turns();
  const [one, other] = [connection(), connection()];
  const [a, b, c, d] = [answer(one), answer(one), answer(one), answer(other)];
  const begun: Answer[] = [];
  for (const response of [a, b, c, d]) take(turns, response, begun);
  t.strictSame(begun, [a, d]);
  a.over();
  t.strictSame(begun, [a, d, b]);
  b.over();
  c.over();
  t.strictSame(begun, [a, d, b, c]);
});

t.test('for a client that has left nothing begins', async (t) => {
  const turns = new Turns();
  const socket = connection();
  const [a, b] = [answer(socket), answer(socket)];
  const begun: Answer[] = [];
  for (const response of [a, b]) take(turns, response, begun);
  Object.assign(socket, { destroyed: true });
  a.over();
  t.strictSame(begun, [a]);
  socket.emit('close');
  Object.assign(socket, { closed: true });
  take(turns, answer(socket), begun);
  t.strictSame(begun, [a]);
  t.notOk(turns.isSending);
});

t.test('an answer that is whole is sent until its client has read it, whoever waits behind it', async (t) => {
  const turns = new Turns();
  const [socket, quiet] = [connection(), connection()];
  const [a, b] = [answer(socket), answer(socket)];
  const begun: Answer[] = [];
  take(turns, answer(quiet), begun);
  t.notOk(turns.isSending, 'nothing is whole');
  take(turns, a, begun);
  a.writableEnded = true;
  t.ok(turns.isSending);
  take(turns, b, begun);
  t.ok(turns.isSending, 'with another request behind it');
  a.over();
  t.notOk(turns.isSending);
  b.writableEnded = true;
  t.ok(turns.isSending);
  socket.emit('close');
  t.notOk(turns.isSending, 'a connection that is gone is sent nothing');
});

t.test(
  'what is said out of turn is the answer that nothing is said of yet, or stands in the midst of one',
  async (t) => {
    const turns = new Turns();
    const socket = connection();
    t.equal(turns.unsaid(socket), undefined);
    const [a, b] = [answer(socket), answer(socket)];
    take(turns, a, []);
    t.equal(turns.unsaid(socket), a);
    a.headersSent = true;
    t.equal(turns.unsaid(socket), 'busy');
    take(turns, b, []);
    t.equal(turns.unsaid(socket), 'busy', 'the next has not begun');
    a.over();
    t.equal(turns.unsaid(socket), b);
    b.over();
    t.equal(turns.unsaid(socket), undefined);
    let upgraded = 0;
    turns.afterPrevious(socket, () => upgraded++);
    t.equal(upgraded, 1, 'nobody is before it');
  },
);

t.test('answers that are over stay in the memory of the young: they die there', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: { type: 'minor' }) => void;
  const oldBytes = (): number =>
    getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? 0;
  const turns = new Turns();
  const sockets = Array.from({ length: 16 }, connection);
  const round = (): void => {
    for (let i = 0; i < 20; i++) {
      const open = sockets.map((socket) => new Answer(socket, 1000) as Answer & ServerResponse);
      for (const response of open) turns.take(response, () => {});
      // What is under way then grows old with all that holds it.
      if (i % 10 === 0) collect({ type: 'minor' });
      for (const response of open) response.over();
    }
  };
  for (let i = 0; i < 5; i++) round();
  const before = oldBytes();
  for (let i = 0; i < 20; i++) round();
  const grown = (oldBytes() - before) / 2 ** 20;
  // 6,400 of them, of 8 kB each.
  t.ok(grown < 5, `${grown.toFixed(1)} MiB`);
});
