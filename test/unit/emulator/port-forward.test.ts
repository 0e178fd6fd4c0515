import { createHash } from 'node:crypto';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import type { Test } from 'tap';
import t from 'tap';
import { WebSocket } from 'ws';
import { sampleBytes } from '../../../src/emulator/pods/sample-server.js';
import { SpdySession } from '../../../src/spdy/session.js';
import type { SpdyStream } from '../../../src/spdy/stream.js';
import { untilStalled } from '../../support/until-stalled.js';
import { readFixture } from '../spdy/fixture.js';
import { createBench, RemoteClient, rawUpgrade } from './pod-bench.js';

const TUNNEL = 'SPDY/3.1+portforward.k8s.io';
const MIB = 1024 * 1024;

interface Forwarded {
  readonly data: SpdyStream;
  readonly received: Buffer[];
  readonly errors: Buffer[];
  /** `end` is the pod's FIN, `reset` anything harder. */
  readonly ended: Promise<'end' | 'reset'>;
  readonly errorEnded: Promise<'end' | 'reset'>;
}

/** The client's end of a tunnel, as kubectl has it. */
class TunnelClient {
  readonly socket: WebSocket;
  readonly session: SpdySession;
  readonly opened: Promise<void>;
  readonly closed: Promise<number>;
  #requests = 0;

  constructor(url: string) {
    // `ws` takes neither offer nor answer of this name, so both pass it by.
    this.socket = new WebSocket(url, { headers: { 'Sec-WebSocket-Protocol': TUNNEL }, perMessageDeflate: false });
    this.socket.on('upgrade', (response) => {
      if (response.headers['sec-websocket-protocol'] === TUNNEL) delete response.headers['sec-websocket-protocol'];
    });
    this.session = new SpdySession({
      role: 'client',
      write: (frame) => {
        this.socket.send(Buffer.concat(frame), () => {
          if (this.socket.bufferedAmount === 0) this.session.transportDrained();
        });
        return this.socket.bufferedAmount < MIB;
      },
      pause: () => this.socket.pause(),
      resume: () => this.socket.resume(),
    });
    this.socket.on('message', (data) => this.session.receive(data as Buffer));
    this.opened = new Promise((resolve, reject) => {
      this.socket.once('open', resolve);
      this.socket.once('error', reject);
    });
    this.closed = new Promise((resolve) => {
      this.socket.once('close', (code) => {
        this.session.end();
        resolve(code);
      });
    });
  }

  /** Opens the two streams of one connection, each after the reply of the one before. */
  async connect(port: number, onData?: (chunk: Buffer) => boolean): Promise<Forwarded> {
    const requestid = String(this.#requests++);
    const received: Buffer[] = [];
    const errors: Buffer[] = [];
    const error = this.#open({ streamtype: 'error', port: String(port), requestid }, (chunk) => {
      errors.push(Buffer.from(chunk));
      return true;
    });
    await error.replied;
    error.stream.end();
    const data = this.#open(
      { streamtype: 'data', port: String(port), requestid },
      onData ??
        ((chunk) => {
          received.push(Buffer.from(chunk));
          return true;
        }),
    );
    await data.replied;
    return { data: data.stream, received, errors, ended: data.ended, errorEnded: error.ended };
  }

  #open(headers: Record<string, string>, onData: (chunk: Buffer) => boolean) {
    const stream = this.session.openStream(Object.entries(headers));
    let resolveEnded: (how: 'end' | 'reset') => void = () => {};
    const ended = new Promise<'end' | 'reset'>((resolve) => {
      resolveEnded = resolve;
    });
    const replied = new Promise<void>((resolve) => {
      stream.consume({
        onData,
        onEnd: () => resolveEnded('end'),
        onReset() {
          resolveEnded('reset');
          resolve();
        },
        onReply: () => resolve(),
      });
    });
    return { stream, replied, ended };
  }
}

async function openTunnel(t: Test, url: string): Promise<TunnelClient> {
  const client = new TunnelClient(url);
  t.teardown(() => client.socket.terminate());
  await client.opened;
  return client;
}

/** A program of a `command` container runs on the host: this stands for its port. */
async function listenOnHost(t: Test, onConnection: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const get = (path: string): Buffer => Buffer.from(`GET ${path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n`);

t.test('a declared port leads to the workload, and both streams end with its answer', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ ports: [{ containerPort: 80 }] });
  const tunnel = await openTunnel(t, bench.url(uid, 'portforward'));
  const connection = await tunnel.connect(80);
  connection.data.write(get('/'));
  t.equal(await connection.ended, 'end');
  connection.data.end();
  t.equal(await connection.errorEnded, 'end');
  t.match(Buffer.concat(connection.received).toString(), /^HTTP\/1\.1 200 OK[\s\S]*hello from pod-1\n$/);
  t.same(connection.errors, []);
  t.equal(tunnel.session.liveStreams, 0);
});

t.test('50 MB come through while other connections work, byte for byte', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ ports: [{ containerPort: 80 }] });
  const tunnel = await openTunnel(t, bench.url(uid, 'portforward'));
  const size = 50 * MIB;
  const hash = createHash('sha256');
  let head: Buffer | undefined = Buffer.alloc(0);
  let bytes = 0;
  const body = (chunk: Buffer): void => {
    hash.update(chunk);
    bytes += chunk.length;
  };
  const big = await tunnel.connect(80, (chunk) => {
    if (head === undefined) body(chunk);
    else {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end >= 0) {
        body(head.subarray(end + 4));
        head = undefined;
      }
    }
    return true;
  });
  big.data.write(get(`/bytes/${size}`));
  const small = await Promise.all(Array.from({ length: 20 }, () => tunnel.connect(80)));
  for (const connection of small) connection.data.write(get('/'));
  t.same(new Set(await Promise.all(small.map(({ ended }) => ended))), new Set(['end']));
  for (const { received } of small) t.match(Buffer.concat(received).toString(), /hello from/);
  t.equal(await big.ended, 'end');
  t.equal(bytes, size);
  t.equal(hash.digest('hex'), createHash('sha256').update(sampleBytes(size)).digest('hex'));
});

t.test('an upload meets a slow reader with bounded memory and loses nothing', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ command: ['sleep', '1000'] });
  let accepted: ((socket: Socket) => void) | undefined;
  const connected = new Promise<Socket>((resolve) => {
    accepted = resolve;
  });
  const port = await listenOnHost(t, (socket) => {
    socket.pause();
    accepted?.(socket);
  });
  const tunnel = await openTunnel(t, bench.url(uid, 'portforward'));
  let drains: (() => void) | undefined;
  const stream = await tunnel.connect(port);
  stream.data.consume({
    onData: () => true,
    onEnd() {},
    onReset() {},
    onDrain: () => drains?.(),
  });
  const socket = await connected;
  const size = 30 * MIB;
  const chunk = 64 * 1024;
  let sent = 0;
  const pump = (): void => {
    while (sent < size) {
      const more = stream.data.write(sampleBytes(chunk, sent));
      sent += chunk;
      if (!more) return;
    }
    stream.data.end();
  };
  drains = pump;
  pump();
  // The reader reads nothing: nothing moves, with much less than the whole on the way.
  await untilStalled(() => sent);
  t.ok(sent < 20 * MIB, `stalled after ${sent} bytes`);
  const hash = createHash('sha256');
  await new Promise<void>((resolve) => {
    socket.on('data', (data) => hash.update(data));
    socket.on('end', resolve);
    socket.resume();
  });
  t.equal(hash.digest('hex'), createHash('sha256').update(sampleBytes(size)).digest('hex'));
});

t.test('each side ends its own half', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ command: ['sleep', '1000'] });
  const port = await listenOnHost(t, (socket) => {
    const parts: Buffer[] = [];
    socket.on('data', (data) => parts.push(data));
    socket.on('end', () => socket.end(`got ${Buffer.concat(parts).toString()}`));
  });
  const tunnel = await openTunnel(t, bench.url(uid, 'portforward'));
  const first = await tunnel.connect(port);
  first.data.write(Buffer.from('question'));
  first.data.end();
  t.equal(await first.ended, 'end');
  t.equal(Buffer.concat(first.received).toString(), 'got question');
  t.equal(await first.errorEnded, 'end');
});

t.test('a refused port is told on the error stream in the words of a kubelet', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ ports: [{ containerPort: 80 }] });
  const tunnel = await openTunnel(t, bench.url(uid, 'portforward'));
  const refused = await tunnel.connect(1);
  t.equal(await refused.ended, 'end');
  t.equal(await refused.errorEnded, 'reset');
  t.match(
    Buffer.concat(refused.errors).toString(),
    /^error forwarding port 1 to pod [0-9a-f]{64}, uid : failed to execute portforward in network namespace .*: failed to connect to localhost:1 inside namespace .*, IPv4: dial tcp4 127\.0\.0\.1:1: connect: connection refused IPv6 dial tcp6: address localhost: no suitable address found $/,
  );
  const good = await tunnel.connect(80);
  good.data.write(get('/'));
  t.equal(await good.ended, 'end', 'the session itself goes on');
});

t.test('a connection that the pod breaks is reset, not ended', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ command: ['sleep', '1000'] });
  const port = await listenOnHost(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const tunnel = await openTunnel(t, bench.url(uid, 'portforward'));
  const connection = await tunnel.connect(port);
  connection.data.write(Buffer.from('x'));
  t.equal(await connection.ended, 'reset');
  t.same(connection.errors, []);
});

t.test('a pod that is gone refuses new connections', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ ports: [{ containerPort: 80 }] });
  const tunnel = await openTunnel(t, bench.url(uid, 'portforward'));
  await bench.runtime.stop(uid, { graceMs: 0 });
  const connection = await tunnel.connect(80);
  await connection.errorEnded;
  t.match(Buffer.concat(connection.errors).toString(), /failed to find sandbox/);
});

t.test('streams that make no pair are refused', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ ports: [{ containerPort: 80 }] });
  const tunnel = await openTunnel(t, bench.url(uid, 'portforward'));
  const reset = (headers: Record<string, string>) =>
    new Promise((resolve) => {
      tunnel.session.openStream(Object.entries(headers)).consume({
        onData: () => true,
        onEnd() {},
        onReset: resolve,
      });
    });
  t.equal(await reset({ streamtype: 'stdin', port: '80', requestid: '9' }), 5);
  t.equal(await reset({ streamtype: 'data', port: '70000', requestid: '9' }), 5);
  t.equal(await reset({ streamtype: 'data', requestid: '9' }), 5);
});

t.test('bytes that are not SPDY end the tunnel with the rule in the close reason', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ ports: [{ containerPort: 80 }] });
  const tunnel = await openTunnel(t, bench.url(uid, 'portforward'));
  tunnel.socket.send(Buffer.from('\x80\x05\x00\x01\x00\x00\x00\x00', 'latin1'));
  t.equal(await tunnel.closed, 1002);
});

t.test('the recorded bytes of kubectl against a real cluster get the same answers', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ ports: [{ containerPort: 8080 }] });
  const socket = new WebSocket(bench.url(uid, 'portforward'), { headers: { 'Sec-WebSocket-Protocol': TUNNEL } });
  socket.on('upgrade', (response) => delete response.headers['sec-websocket-protocol']);
  await new Promise((resolve) => socket.once('open', resolve));
  const seen: Buffer[] = [];
  const until = (test: (text: string) => boolean): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (test(Buffer.concat(seen).toString('latin1'))) resolve();
      };
      socket.on('message', look);
      look();
    });
  socket.on('message', (data) => seen.push(data as Buffer));
  // Every message as kubectl wrote it, also the empty ones; the real server's part is left out.
  for (const { from, bytes } of readFixture('port-forward-1.33-real')) if (from === 'client') socket.send(bytes);
  await until((text) => text.includes('hello from pod-1\n'));
  t.same(Buffer.concat(seen).subarray(0, 4), Buffer.from('80030002', 'hex'), 'a reply comes first');
  socket.terminate();
});

t.test('the old form carries ports on numbered channels', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ ports: [{ containerPort: 8080 }] });
  const client = new RemoteClient(bench.url(uid, 'portforward', { ports: '8080' }), 'v4.channel.k8s.io');
  await client.opened;
  await client.send(0, get('/'));
  const { messages, code } = await client.result;
  t.same(messages.slice(0, 2), [Buffer.from('00901f', 'hex'), Buffer.from('01901f', 'hex')], 'as recorded');
  t.match(client.channel(0).subarray(2).toString(), /hello from pod-1\n$/);
  t.equal(code, 1000);
  const base64 = new RemoteClient(bench.url(uid, 'portforward', { ports: '1' }), 'v4.base64.channel.k8s.io');
  const refused = await base64.result;
  t.same(refused.messages.slice(0, 2).map(String), ['0AQA=', '1AQA=']);
  t.match(Buffer.from(String(refused.messages[2]).slice(1), 'base64').toString(), /connection refused/);
});

t.test('an upgrade that cannot be served is refused with a Status', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  t.match(await rawUpgrade(bench.port, `/${uid}/portforward`, 'portforward.k8s.io'), /^HTTP\/1\.1 403 .*"code":403/s);
  t.match(await rawUpgrade(bench.port, `/${uid}/portforward`, 'v4.channel.k8s.io'), /^HTTP\/1\.1 400 .*ports/s);
  t.match(await rawUpgrade(bench.port, '/nopod/portforward', TUNNEL), /^HTTP\/1\.1 404 /);
  t.match(
    await rawUpgrade(bench.port, `/${uid}/portforward`, TUNNEL),
    /^HTTP\/1\.1 101 .*Protocol: SPDY\/3\.1\+portforward/s,
  );
});
