import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { type ClientOptions, WebSocket, WebSocketServer } from 'ws';
import { GATEWAY_PREFIX, openTestFrontDoor, type TestFrontDoor } from '../../support/front-door.js';
import { pairsOf } from '../../support/raw-http.js';
import { untilStalled } from '../../support/until-stalled.js';

const EXEC = '/api/v1/namespaces/default/pods/box/exec?command=sh&stdin=true&stdout=true';
const PORT_FORWARD = '/api/v1/namespaces/default/pods/box/portforward';
const PROXY = '/api/v1/namespaces/default/services/web/proxy/socket';

/** An upgrade request written by hand, as kubectl writes it. */
async function knock(
  at: TestFrontDoor,
  target: string,
  headers: readonly string[],
  method = 'GET',
): Promise<TLSSocket> {
  const socket = await at.connect();
  const lines = [
    `${method} ${target} HTTP/1.1`,
    `Host: 127.0.0.1:${at.port}`,
    'Authorization: Bearer local-prod',
    ...headers,
    '',
    '',
  ];
  socket.write(lines.join('\r\n'));
  return socket;
}

async function readUntil(socket: Duplex, done: (text: string) => boolean): Promise<string> {
  let text = '';
  while (!done(text)) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    text += chunk.toString('latin1');
  }
  return text;
}

async function readAll(socket: Duplex): Promise<string> {
  let text = '';
  for await (const chunk of socket) text += (chunk as Buffer).toString('latin1');
  return text;
}

async function upgradeArrival(at: TestFrontDoor): Promise<{ request: IncomingMessage; socket: Duplex }> {
  const [request, socket] = (await once(at.gateway.server, 'upgrade')) as [IncomingMessage, Duplex];
  return { request, socket };
}

t.test('any other upgrade is a raw splice: same headers, same bytes, both half-closes', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const arrived = upgradeArrival(at);
  const client = await knock(at, PROXY, [
    'Connection: keep-alive, Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: abc',
    'Sec-WebSocket-Protocol: plain.kubevirt.io',
    'Impersonate-Group: b',
    'Impersonate-Group: a',
  ]);
  const { request, socket } = await arrived;
  t.equal(request.url, GATEWAY_PREFIX + PROXY);
  const headers = pairsOf(request.rawHeaders);
  t.strictSame(
    headers.filter(([name]) => name === 'Impersonate-Group').map(([, value]) => value),
    ['b', 'a'],
  );
  t.match(request.headers, {
    'sec-websocket-key': 'abc',
    'sec-websocket-protocol': 'plain.kubevirt.io',
    upgrade: 'websocket',
    authorization: 'Bearer google-token-1',
  });
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Chosen: yes\r\n\r\nearly',
  );
  const head = await readUntil(client, (text) => text.includes('early'));
  t.match(head, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
  t.match(head, 'X-Chosen: yes');
  client.write('up');
  t.equal(await readUntil(socket, (text) => text.length >= 2), 'up');
  socket.end('last words');
  t.equal(await readAll(client), 'last words', 'what was sent before the end arrives');
});

t.test('nothing is answered before upstream has answered, and a refusal keeps its status and its Status', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const arrived = upgradeArrival(at);
  const client = await knock(at, EXEC, [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: v5.channel.k8s.io',
  ]);
  const { socket } = await arrived;
  const body =
    '{"kind":"Status","apiVersion":"v1","status":"Failure","message":"pods \\"box\\" is forbidden","reason":"Forbidden","code":403}';
  socket.end(
    `HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  const answer = await readAll(client);
  t.match(answer, /^HTTP\/1\.1 403 Forbidden\r\n/);
  t.ok(answer.endsWith(body), 'the cluster’s Status comes byte for byte');
});

t.test('a refusal by an HTML page becomes a Status, also when it was chunked', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  for (const [target, method] of [
    [EXEC, 'GET'],
    [PORT_FORWARD, 'POST'],
  ] as const) {
    const arrived = upgradeArrival(at);
    const upgrade =
      method === 'POST'
        ? ['Upgrade: SPDY/3.1', 'X-Stream-Protocol-Version: portforward.k8s.io']
        : [
            'Upgrade: websocket',
            'Sec-WebSocket-Version: 13',
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
            'Sec-WebSocket-Protocol: v5.channel.k8s.io',
          ];
    const client = await knock(at, target, ['Connection: Upgrade', ...upgrade], method);
    const { request, socket } = await arrived;
    t.equal(request.method, 'GET', 'upstream is spoken to over WebSocket, whatever the client speaks');
    const page = '<!DOCTYPE html><title>Error 404 (Not Found)!!1</title><p>The requested URL was not found.';
    socket.end(
      `HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n${page.length.toString(16)}\r\n${page}\r\n0\r\n\r\n`,
    );
    const answer = await readAll(client);
    t.match(answer, /^HTTP\/1\.1 404 Not Found\r\n/);
    t.match(answer, '"kind":"Status"');
    t.notMatch(answer, '<title>');
    t.notMatch(answer, /transfer-encoding/i);
  }
});

t.test('a client that leaves before upstream has answered ends the dial', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const arrived = upgradeArrival(at);
  const client = await knock(at, PROXY, ['Connection: Upgrade', 'Upgrade: websocket']);
  const { socket } = await arrived;
  const closed = once(socket.resume(), 'end');
  client.destroy();
  await closed;
  t.pass();
});

const DETAILS = [
  {
    '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
    reason: 'ACCESS_TOKEN_EXPIRED',
    metadata: { service: 'connectgateway.googleapis.com' },
  },
];
const ERROR = { code: 401, message: 'Invalid', status: 'UNAUTHENTICATED', details: DETAILS };
const UNAUTHENTICATED = JSON.stringify({ error: ERROR });
const REFUSED = `HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: ${UNAUTHENTICATED.length}\r\n\r\n${UNAUTHENTICATED}`;

t.test('a workload that refuses is asked once, and Google’s token is kept', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const seen: unknown[] = [];
  at.gateway.server.on('upgrade', (request, socket) => {
    seen.push(request.headers.authorization);
    socket.end('HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 6\r\n\r\nlog in');
  });
  for (let i = 0; i < 2; i++) {
    const client = await knock(at, PROXY, ['Connection: Upgrade', 'Upgrade: websocket']);
    t.match(await readAll(client), /^HTTP\/1\.1 401 [\s\S]*WWW-Authenticate: Basic[\s\S]*\r\n\r\nlog in$/);
  }
  t.strictSame(seen, ['Bearer google-token-1', 'Bearer google-token-1']);
});

for (const [what, target, headers] of [
  ['trailers that it announces', PROXY, ['Trailer: X-Sum']],
  ['trailers that its exec announces', EXEC, ['Trailer: X-Sum', 'Sec-WebSocket-Protocol: v5.channel.k8s.io']],
] as const) {
  t.test(`a client is upgraded whatever it says: ${what}`, async (t) => {
    const at = await openTestFrontDoor();
    t.teardown(() => at.close());
    webSocketGateway(at, (socket, request) => {
      t.equal(request.headers.trailer, undefined);
      socket.close(1000);
    });
    const key = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
    const client = await knock(at, target, [...key, `Sec-WebSocket-Key: ${'A'.repeat(22)}==`, ...headers]);
    t.match(await readUntil(client, (text) => text.includes('\r\n\r\n')), /^HTTP\/1\.1 101 /);
    client.destroy();
  });
}

t.test('subprotocols that RFC 6455 does not allow are refused before anything is dialled', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  at.gateway.server.on('connection', () => t.fail('nothing is dialled'));
  for (const odd of ['v{4}', 'v5.channel.k8s.io']) {
    const client = await knock(at, EXEC, [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${'A'.repeat(22)}==`,
      `Sec-WebSocket-Protocol: v5.channel.k8s.io, ${odd}`,
    ]);
    t.match(await readAll(client), /^HTTP\/1\.1 400 [\s\S]*Sec-WebSocket-Protocol names/);
  }
});

t.test('a refused token is replaced once before the client hears of it', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const seen: unknown[] = [];
  at.gateway.server.on('upgrade', (request, socket) => {
    seen.push(request.headers.authorization);
    if (seen.length === 1) socket.end(REFUSED);
    else socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello');
  });
  const client = await knock(at, PROXY, ['Connection: Upgrade', 'Upgrade: websocket']);
  t.match(await readAll(client), /^HTTP\/1\.1 101 [\s\S]*hello$/);
  t.strictSame(seen, ['Bearer google-token-1', 'Bearer google-token-2']);
});

/** A gateway that speaks WebSocket on every upgrade. */
function webSocketGateway(at: TestFrontDoor, onOpen: (socket: WebSocket, request: IncomingMessage) => void): void {
  const acceptor = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 32 * 1024 * 1024 });
  at.gateway.server.on('upgrade', (request, socket, head) => {
    acceptor.handleUpgrade(request, socket, head, (accepted) => onOpen(accepted, request));
  });
}

function execClient(
  at: TestFrontDoor,
  protocols: string[] = ['v5.channel.k8s.io'],
  options: ClientOptions = {},
): WebSocket {
  const client = new WebSocket(`wss://127.0.0.1:${at.port}${EXEC}`, protocols, {
    ...options,
    ca: at.ca,
    headers: { authorization: 'Bearer local-prod' },
    perMessageDeflate: false,
  });
  client.on('error', () => {});
  return client;
}

t.test('exec goes message by message: sizes, order, types and the subprotocol are kept', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  webSocketGateway(at, (socket, request) => {
    t.equal(request.url, GATEWAY_PREFIX + EXEC);
    t.equal(request.headers['sec-websocket-protocol'], 'v5.channel.k8s.io');
    t.equal(request.headers.authorization, 'Bearer google-token-1');
    // Sent at once: it may arrive together with the 101.
    socket.send(Buffer.from([1]));
    socket.on('message', (data, binary) => socket.send(data as Buffer, { binary }));
  });
  const client = execClient(at);
  const got: string[] = [];
  client.on('message', (data) =>
    got.push(
      createHash('sha1')
        .update(data as Buffer)
        .digest('hex'),
    ),
  );
  await once(client, 'open');
  t.equal(client.protocol, 'v5.channel.k8s.io');
  const sent = [
    Buffer.from([0]),
    Buffer.from([0xff, 0]),
    Buffer.alloc(1),
    Buffer.alloc(8 * 1024 * 1024, 7),
    Buffer.from('text'),
  ];
  for (const message of sent) client.send(message);
  while (got.length < sent.length + 1) await once(client, 'message');
  t.strictSame(
    got,
    [Buffer.from([1]), ...sent].map((message) => createHash('sha1').update(message).digest('hex')),
  );
  client.ping('payload');
  const [payload] = (await once(client, 'pong')) as [Buffer];
  t.equal(payload.toString(), 'payload');
  client.close();
});

t.test('close codes pass once the command’s Status is known', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  webSocketGateway(at, (socket) => {
    socket.send(Buffer.from('\u0003{"status":"Success"}'));
    socket.close(1000, 'bye');
  });
  const client = execClient(at);
  const messages: Buffer[] = [];
  client.on('message', (data) => messages.push(data as Buffer));
  const [code, reason] = (await once(client, 'close')) as [number, Buffer];
  t.equal(code, 1000);
  t.equal(reason.toString(), 'bye');
  t.equal(messages.length, 1);
});

for (const [form, cut] of [
  ['close 1000 without a Status', (socket: WebSocket) => socket.close(1000)],
  ['close 1011', (socket: WebSocket) => socket.close(1011, 'agent gone')],
  ['a reset', (socket: WebSocket) => socket.terminate()],
] as const) {
  t.test(`a cut (${form}) reaches the client as a Failure Status, never as success`, async (t) => {
    const at = await openTestFrontDoor();
    t.teardown(() => at.close());
    webSocketGateway(at, cut);
    const client = execClient(at);
    const messages: Buffer[] = [];
    client.on('message', (data) => messages.push(data as Buffer));
    const [code] = (await once(client, 'close')) as [number];
    t.equal(code, 1000);
    t.equal(messages.length, 1);
    t.equal(messages[0]?.[0], 3);
    t.match(JSON.parse(messages[0]?.subarray(1).toString() ?? ''), {
      status: 'Failure',
      message: /gateway cut this session/,
    });
  });
}

t.test('the client’s close reaches upstream with its code', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  const closed = new Promise((resolve) => {
    webSocketGateway(at, (socket) => socket.on('close', (code, reason) => resolve([code, reason.toString()])));
  });
  const client = execClient(at);
  await once(client, 'open');
  client.close(4001, 'enough');
  t.strictSame(await closed, [4001, 'enough']);
});

t.test(
  'output and the end of a command that come with the 101: told to a client only once its streams are there',
  async (t) => {
    const at = await openTestFrontDoor();
    t.teardown(() => at.close());
    const output = Buffer.from('\u0001all of it');
    const success = Buffer.from('\u0003{"metadata":{},"status":"Success"}');
    webSocketGateway(at, (socket) => {
      socket.send(output);
      socket.send(success);
      socket.close(1000);
    });
    const client = execClient(at, ['v5.channel.k8s.io'], { autoPong: false });
    const heard: string[] = [];
    client.on('message', (data) => heard.push(String(data)));
    client.on('ping', () => heard.push('ping'));
    for (let asked = 0; asked < 2; asked++) {
      await once(client, 'ping');
      client.pong();
    }
    const [code] = (await once(client, 'close')) as [number];
    t.equal(code, 1000);
    t.same(heard, ['ping', 'ping', String(output), String(success)]);
  },
);

t.test('a client that does not read holds the command back', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  let sent = 0;
  webSocketGateway(at, (socket) => {
    const chunk = Buffer.alloc(32 * 1024, 1);
    const push = (error?: Error): void => {
      if (error !== undefined || sent > 300 * 1024 * 1024) return;
      sent += chunk.length;
      socket.send(chunk, push);
    };
    push();
  });
  const client = execClient(at);
  await once(client, 'open');
  client.pause();
  await untilStalled(() => sent);
  t.ok(sent < 60 * 1024 * 1024, `${sent} bytes were taken`);
  client.terminate();
});

t.test('when the daemon stops, a running exec hears why', async (t) => {
  const at = await openTestFrontDoor();
  t.teardown(() => at.close());
  webSocketGateway(at, () => {});
  const client = execClient(at);
  await once(client, 'open');
  const message = once(client, 'message');
  const drained = at.door.drain(AbortSignal.abort());
  const [data] = (await message) as [Buffer];
  t.match(data.toString(), /the daemon is stopping/);
  await drained;
});
