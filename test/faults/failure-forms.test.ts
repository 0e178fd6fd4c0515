import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import * as https from 'node:https';
import t, { type Test } from 'tap';
import { FakeClock } from '../support/fake-clock.js';
import { openTestFrontDoor, type TestFrontDoor } from '../support/front-door.js';

/** How a gateway may write what it says: nobody outside Google knows which of these Google's own chooses. */
const FORMS: Readonly<Record<string, (words: string, canonical: string) => { contentType: string; body: string }>> = {
  'JSON of googleapis': (message, status) => json({ error: { code: 400, message, status: status.toUpperCase() } }),
  'google.rpc.Status': (message, status) =>
    json({ code: { not_found: 5, permission_denied: 7, failed_precondition: 9 }[status], message, details: [] }),
  'a Kubernetes Status': (words, status) =>
    json({ kind: 'Status', apiVersion: 'v1', status: 'Failure', message: `generic::${status}: ${words}`, code: 400 }),
  'plain text': (words, status) => ({ contentType: 'text/plain', body: `generic::${status}: ${words}\n` }),
  'the words alone': (words) => ({ contentType: 'text/plain; charset=utf-8', body: words }),
  'a page': (words) => ({
    contentType: 'text/html; charset=UTF-8',
    body: `<!DOCTYPE html><html lang=en><title>Error 400 (Bad Request)!!1</title><p>generic::x: ${words}</p></html>`,
  }),
  'nothing that says what it is': (words, status) => ({ contentType: '', body: `generic::${status}: ${words}` }),
};

function json(value: unknown): { contentType: string; body: string } {
  return { contentType: 'application/json; charset=UTF-8', body: JSON.stringify(value) };
}

const WORDS = [
  ['agent-lost', 503, 'not_found', 'cannot connect to agent or connection unexpectedly terminated for (project: 1)'],
  ['agent-missing', 503, 'not_found', 'No active connections found for cluster(project: 1, membership: prod)'],
  ['stream-permission-denied', 403, 'permission_denied', "Permission'gkehub.gateway.stream' denied on resource x"],
  [
    'stream-rbac-denied',
    403,
    'failed_precondition',
    "failed to connect to the cluster's API Server with response (status=403 Forbidden, body=x)",
  ],
  ['cluster-error', 503, 'failed_precondition', 'error encountered within the cluster'],
] as const;

const POD = '/api/v1/namespaces/default/pods/box';
const WEBSOCKET = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};
const SPDY = { Connection: 'Upgrade', Upgrade: 'SPDY/3.1' };

/** The places where a client can meet it before anything has been accepted. */
const PLACES: readonly (readonly [what: string, target: string, method: string, headers: Record<string, string>])[] = [
  ['a request', '/api/v1/pods', 'GET', {}],
  ['a write', '/api/v1/namespaces/default/pods', 'POST', {}],
  ['the start of a watch', '/api/v1/pods?watch=1', 'GET', {}],
  ['the start of a log', `${POD}/log?follow=true`, 'GET', {}],
  ['exec over WebSocket', `${POD}/exec?command=ls&stdout=true`, 'GET', { ...WEBSOCKET, ...v('v5.channel.k8s.io') }],
  ['attach over WebSocket', `${POD}/attach?stdout=true`, 'GET', { ...WEBSOCKET, ...v('v4.channel.k8s.io') }],
  ['exec over SPDY', `${POD}/exec?command=ls&stdout=true`, 'POST', { ...SPDY, ...x('v4.channel.k8s.io') }],
  ['port-forward over WebSocket', `${POD}/portforward`, 'GET', { ...WEBSOCKET, ...v('SPDY/3.1+portforward.k8s.io') }],
  ['port-forward over SPDY', `${POD}/portforward`, 'POST', { ...SPDY, ...x('portforward.k8s.io') }],
  ['port-forward of old', `${POD}/portforward?ports=80`, 'GET', { ...WEBSOCKET, ...v('v4.channel.k8s.io') }],
];

function v(protocol: string): Record<string, string> {
  return { 'Sec-WebSocket-Protocol': protocol };
}

function x(protocol: string): Record<string, string> {
  return { 'X-Stream-Protocol-Version': protocol };
}

async function ask(
  at: TestFrontDoor,
  [, path, method, headers]: (typeof PLACES)[number],
): Promise<{ status: number | undefined; headers: IncomingMessage['headers']; body: string }> {
  const request = https.request({
    ...{ host: '127.0.0.1', port: at.port, path, method, ca: at.ca, agent: false },
    headers: { Authorization: `Bearer ${at.localToken}`, ...headers },
  });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const body = Buffer.concat((await response.toArray()) as Buffer[]).toString();
  return { status: response.statusCode, headers: response.headers, body };
}

/** A gateway that says one thing to everything. */
async function scene(t: Test): Promise<{
  at: TestFrontDoor;
  says: (status: number, answer: { contentType: string; body: string }) => void;
}> {
  const at = await openTestFrontDoor({ clock: new FakeClock() });
  t.teardown(() => at.close());
  let raw = '';
  let answer: [number, string, string] = [500, '', ''];
  at.gateway.server.on('request', (request, response) => {
    const [status, contentType, body] = answer;
    request.resume();
    response.writeHead(status, contentType === '' ? {} : { 'Content-Type': contentType }).end(body);
  });
  at.gateway.server.on('upgrade', (_request, socket) => void socket.end(raw));
  return {
    at,
    says: (status, { contentType, body }) => {
      answer = [status, contentType, body];
      const type = contentType === '' ? '' : `Content-Type: ${contentType}\r\n`;
      raw = `HTTP/1.1 ${status} Refused\r\n${type}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    },
  };
}

for (const [at, [code, status, canonical, words]] of WORDS.entries()) {
  // All places judge alike: for most words two of them are enough.
  const places = at === 0 ? PLACES : PLACES.filter(([what]) => /^(?:a request|exec over WebSocket)$/.test(what));
  t.test(`${code}: whatever the form and the place, the client gets the same Status`, async (t) => {
    const { at, says } = await scene(t);
    for (const [index, [form, write]] of Object.entries(FORMS).entries()) {
      const sent = [400, 404, 503][index % 3] ?? 400;
      says(sent, write(words, canonical));
      for (const place of places) {
        const what = `${form}, HTTP ${sent}, ${place[0]}`;
        const answer = await ask(at, place);
        t.equal(answer.status, status, what);
        t.match(JSON.parse(answer.body), {
          kind: 'Status',
          code: status,
          details: { causes: [{ reason: code }] },
          message: /^connect-gateway-proxy: [^<\n]*\(Google says: [^<\n]+\)\. To be fixed by .+: /,
        });
        t.equal(answer.headers['retry-after'], undefined, 'kubectl would wait in silence');
      }
    }
  });
}
