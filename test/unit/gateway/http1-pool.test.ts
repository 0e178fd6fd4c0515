import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { upstreamAddress } from '../../../src/gateway/address.js';
import { createDialer, type DialTarget } from '../../../src/gateway/dial.js';
import { Http1Client } from '../../../src/gateway/http1-client.js';
import { FakeClock } from '../../support/fake-clock.js';
import { Queue } from '../../support/queue.js';

/** A request as the gateway has it. */
interface Arrival {
  readonly target: string;
  readonly socket: Socket;
  answer(): void;
}

interface Dial {
  /** Resolves once the client has what came of it. */
  succeed(): Promise<void>;
  fail(): Promise<void>;
}

interface Scene {
  readonly client: Http1Client;
  readonly clock: FakeClock;
  /** What the connections read goes there. */
  readonly lent: readonly DialTarget['lend'][];
  readonly arrivals: Queue<Arrival>;
  /** Dials that wait for the test to say what becomes of them. */
  readonly dials: Queue<Dial>;
  send(target: string, o?: { method?: string }): { result: Promise<string>; abort(): void };
}

async function scene(t: Test): Promise<Scene> {
  const arrivals = new Queue<Arrival>();
  const dials = new Queue<Dial>();
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      const target = /^\w+ (\S+)/.exec(chunk.toString())?.[1] ?? '';
      arrivals.put({
        target,
        socket,
        answer: () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${target.length}\r\n\r\n${target}`),
      });
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const clock = new FakeClock();
  const lent: DialTarget['lend'][] = [];
  const real = createDialer({ proxy: {} });
  const client = new Http1Client({
    clock,
    dialer: {
      dial: async (target, signal) => {
        let settled = (): void => {};
        const told = new Promise<void>((resolve) => {
          settled = resolve;
        });
        const outcome = await new Promise<'open' | Error>((resolve) => {
          const settle = (what: 'open' | Error): Promise<void> => {
            resolve(what);
            return told;
          };
          dials.put({
            succeed: () => settle('open'),
            fail: () => settle(Object.assign(new Error('no way'), { code: 'EHOSTUNREACH' })),
          });
          signal.addEventListener('abort', () => resolve(new Error('aborted')), { once: true });
        });
        try {
          lent.push(target.lend);
          if (outcome === 'open') return await real.dial(target, signal);
          throw outcome;
        } finally {
          setImmediate(settled);
        }
      },
    },
  });
  t.teardown(() => {
    client.close();
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const address = upstreamAddress(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return {
    client,
    clock,
    arrivals,
    dials,
    lent,
    send: (target, { method = 'GET' } = {}) => {
      let abort = (): void => {};
      const result = new Promise<string>((resolve) => {
        let body = '';
        const call = client.send(
          { address, method, target, headers: [], body: null, headersTimeoutMs: 0 },
          {
            information: () => {},
            head: () => {},
            data: (chunk) => {
              body += chunk.toString();
              return true;
            },
            end: () => resolve(body),
            failed: (error) => resolve(String((error as NodeJS.ErrnoException).code ?? error)),
          },
        );
        abort = () => {
          call.abort();
          resolve('aborted');
        };
      });
      return { result, abort: () => abort() };
    },
  };
}

/** One connection that carries nothing. */
async function withIdle(t: Test): Promise<Scene> {
  const at = await scene(t);
  const first = at.send('/first');
  await (await at.dials.next()).succeed();
  (await at.arrivals.next()).answer();
  await first.result;
  return at;
}

/** The client has seen by then what ended before. */
async function onlyOneDial(t: Test, at: Scene, why: string): Promise<void> {
  const sent = at.send('/late');
  await (await at.dials.next()).succeed();
  (await at.arrivals.next()).answer();
  await sent.result;
  t.equal(at.dials.length, 0, why);
}

t.test('whoever waits for a connection takes the one that is there first', async (t) => {
  const at = await withIdle(t);
  const [a, b] = [at.send('/a'), at.send('/b')];
  const dial = await at.dials.next();
  const first = await at.arrivals.next();
  t.equal(first.target, '/a');
  first.answer();
  const second = await at.arrivals.next();
  t.equal(second.target, '/b', 'before its own connection has been made');
  t.equal(second.socket, first.socket);
  second.answer();
  t.strictSame(await Promise.all([a.result, b.result]), ['/a', '/b']);
  await dial.succeed();
  const c = at.send('/c');
  (await at.arrivals.next()).answer();
  t.equal(await c.result, '/c', 'what was made in vain carries the next');
  t.equal(at.dials.length, 0);
});

t.test('they are served in the order in which they came', async (t) => {
  const at = await scene(t);
  const sent = ['/a', '/b', '/c'].map((target) => at.send(target));
  const dials = [await at.dials.next(), await at.dials.next(), await at.dials.next()];
  await dials[2]?.succeed();
  await dials[0]?.succeed();
  await dials[1]?.succeed();
  for (const target of ['/a', '/b', '/c']) {
    const arrival = await at.arrivals.next();
    t.equal(arrival.target, target);
    arrival.answer();
  }
  t.strictSame(await Promise.all(sent.map(({ result }) => result)), ['/a', '/b', '/c']);
});

t.test('a dial that fails fails the one that has no other to wait for', async (t) => {
  const at = await scene(t);
  const [a, b] = [at.send('/a'), at.send('/b')];
  const [ofA, ofB] = [await at.dials.next(), await at.dials.next()];
  // The connection that was dialled for b carries a.
  await ofB.succeed();
  t.equal((await at.arrivals.next()).target, '/a');
  await ofA.fail();
  t.equal(await b.result, 'EHOSTUNREACH');
  a.abort();
  const c = at.send('/c');
  await (await at.dials.next()).fail();
  t.equal(await c.result, 'EHOSTUNREACH');
});

t.test('who leaves while waiting is sent nowhere, and takes nobody with it', async (t) => {
  const at = await scene(t);
  const [a, b] = [at.send('/a'), at.send('/b')];
  const [, ofB] = [await at.dials.next(), await at.dials.next()];
  a.abort();
  await ofB.succeed();
  const arrival = await at.arrivals.next();
  t.equal(arrival.target, '/b');
  arrival.answer();
  t.equal(await b.result, '/b');
  t.equal(at.arrivals.length, 0);
});

t.test('as long as an origin is in use, the last connection that ends is replaced', async (t) => {
  const at = await withIdle(t);
  const end = async (): Promise<void> => {
    const { socket } = await peek();
    socket.end();
    await once(socket, 'close');
  };
  const peek = async (): Promise<Arrival> => {
    const sent = at.send('/peek');
    const arrival = await at.arrivals.next();
    arrival.answer();
    await sent.result;
    return arrival;
  };
  at.clock.advance(31_000);
  await end();
  await (await at.dials.next()).succeed();
  const { target } = await peek();
  t.equal(target, '/peek', 'over the connection that was ready');
  t.equal(at.dials.length, 0);
  await end();
  await onlyOneDial(t, at, 'a server that ends them at once is not dialled again and again');
});

t.test('an origin that nobody has used for long is left alone', async (t) => {
  const at = await scene(t);
  const sent = at.send('/once');
  await (await at.dials.next()).succeed();
  const { socket, answer } = await at.arrivals.next();
  answer();
  await sent.result;
  at.clock.advance(16 * 60_000);
  socket.end();
  await once(socket, 'close');
  await onlyOneDial(t, at, 'for the request that comes at last');
});

t.test('after a wake a connection is made anew before it is asked for', async (t) => {
  const at = await withIdle(t);
  at.client.dropIdle();
  await (await at.dials.next()).succeed();
  const next = at.send('/next');
  (await at.arrivals.next()).answer();
  t.equal(await next.result, '/next');
  t.equal(at.dials.length, 0);
});

t.test('an origin is warmed once, and not while it is', async (t) => {
  const at = await scene(t);
  const address = upstreamAddress('http://127.0.0.1:1');
  at.client.warm(address);
  at.client.warm(address);
  await (await at.dials.next()).fail();
  at.client.warm(address);
  t.equal(at.dials.length, 0, 'nor again at once when it did not succeed');
  at.clock.advance(31_000);
  at.client.warm(address);
  await (await at.dials.next()).fail();
});

t.test('a connection ends that has carried nothing for 50 s, however long it has been in use', async (t) => {
  const at = await scene(t);
  const first = at.send('/0');
  await (await at.dials.next()).succeed();
  const { socket, answer } = await at.arrivals.next();
  answer();
  await first.result;
  for (const target of ['/1', '/2', '/3']) {
    at.clock.advance(49_000);
    const next = at.send(target);
    const arrival = await at.arrivals.next();
    t.equal(arrival.socket, socket);
    arrival.answer();
    t.equal(await next.result, target);
  }
  const closed = once(socket, 'close');
  at.clock.advance(50_000);
  await closed;
  await (await at.dials.next()).succeed();
  const last = at.send('/last');
  (await at.arrivals.next()).answer();
  t.equal(await last.result, '/last', 'over the one that has taken its place');
});

t.test('while an exchange is under way its connection is not idle', async (t) => {
  const at = await withIdle(t);
  const slow = at.send('/slow');
  const arrival = await at.arrivals.next();
  at.clock.advance(10 * 60_000);
  arrival.answer();
  t.equal(await slow.result, '/slow');
  const next = at.send('/next');
  const { socket, answer } = await at.arrivals.next();
  t.equal(socket, arrival.socket);
  answer();
  t.equal(await next.result, '/next');
});

t.test('who leaves in the turn in which it asked has asked nothing', async (t) => {
  const at = await withIdle(t);
  const [a, b] = [at.send('/a'), at.send('/b')];
  a.abort();
  await (await at.dials.next()).succeed();
  const arrival = await at.arrivals.next();
  t.equal(arrival.target, '/b');
  arrival.answer();
  t.equal(await b.result, '/b');
  t.equal(at.arrivals.length, 0);
});

t.test('what the other side says before a request has left is no answer to it', async (t) => {
  const at = await withIdle(t);
  const [read] = at.lent;
  const sent = at.send('/asked');
  read?.(Buffer.from('HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate'));
  t.equal(await sent.result, 'ECONNRESET', 'as of a connection that was lost: a GET is asked once more');
  await (await at.dials.next()).succeed();
  const next = at.send('/next');
  const arrival = await at.arrivals.next();
  t.equal(arrival.target, '/next');
  arrival.answer();
  t.equal(await next.result, '/next');
});
