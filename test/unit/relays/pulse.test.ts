import { EventEmitter } from 'node:events';
import t from 'tap';
import { WebSocket } from 'ws';
import { Pulse } from '../../../src/relays/remote-command/pulse.js';
import { FakeClock } from '../../support/fake-clock.js';

/** A peer that answers pings only while it is told to. */
class Peer extends EventEmitter {
  readonly readyState = WebSocket.OPEN;
  isPaused = false;
  readonly pings: string[] = [];
  terminated = false;

  ping(data: string): void {
    this.pings.push(data);
  }

  terminate(): void {
    this.terminated = true;
  }

  answer(said = this.pings.at(-1) ?? ''): void {
    this.emit('pong', Buffer.from(said));
  }
}

function open(): { clock: FakeClock; peer: Peer; pulse: Pulse; wake: () => void } {
  const clock = new FakeClock();
  const peer = new Peer();
  let wake = (): void => {};
  const wakes = {
    onWake: (listener: (at: { doubtfulBefore: number }) => void): (() => void) => {
      wake = () => listener({ doubtfulBefore: clock.monotonic() + 1 });
      return () => {};
    },
  };
  const pulse = new Pulse({ clock, wakes: wakes as never, client: { keepAlive: () => {} } });
  pulse.follow(peer as unknown as WebSocket);
  return { clock, peer, pulse, wake: () => wake() };
}

const STEP = 10_000;

function pass(clock: FakeClock, steps: number): void {
  for (let i = 0; i < steps; i++) clock.advance(STEP);
}

t.test('a peer that leaves two pings unanswered is found dead within 30 s', async (t) => {
  const { clock, peer } = open();
  pass(clock, 2);
  t.notOk(peer.terminated);
  pass(clock, 1);
  t.ok(peer.terminated);
});

t.test('typing does not put that off', async (t) => {
  const { clock, peer, pulse } = open();
  for (let i = 0; i < 3; i++) {
    pulse.sent(200);
    pass(clock, 1);
  }
  t.ok(peer.terminated);
});

t.test('a command that does not read what was sent to it keeps its connection, however long it takes', async (t) => {
  const { clock, peer, pulse } = open();
  pulse.sent(5_000_000);
  pass(clock, 200);
  t.notOk(peer.terminated);
  t.equal(peer.pings.length, 200, 'it is still asked');
  peer.answer();
  pass(clock, 3);
  t.ok(peer.terminated, 'once all was handed on, silence says what it always says');
});

t.test('the answer to a ping says nothing of what was sent after it', async (t) => {
  const { clock, peer, pulse } = open();
  pulse.sent(100_000);
  pass(clock, 1);
  pulse.sent(100_000);
  peer.answer('100000');
  pass(clock, 20);
  t.notOk(peer.terminated);
});

t.test('a peer that does not repeat what a ping said is judged as well', async (t) => {
  const { clock, peer, pulse } = open();
  pulse.sent(100_000);
  pass(clock, 1);
  peer.answer('');
  pass(clock, 3);
  t.ok(peer.terminated);
});

t.test('after a wake the next silence decides, whatever is on the way', async (t) => {
  const { clock, peer, pulse, wake } = open();
  pulse.sent(5_000_000);
  wake();
  clock.advance(5000);
  t.ok(peer.terminated);
});

t.test('a client that is slow is no dead peer', async (t) => {
  const { clock, peer } = open();
  peer.isPaused = true;
  pass(clock, 20);
  t.notOk(peer.terminated);
});
