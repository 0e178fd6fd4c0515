import type { IncomingMessage, ServerResponse } from 'node:http';
import t, { type Test } from 'tap';
import { Agent } from 'undici';
import { createLogger } from '../../../src/base/log.js';
import { Identities } from '../../../src/credentials/identities.js';
import type { TokenSource } from '../../../src/credentials/token-source.js';
import { FakeClock } from '../../support/fake-clock.js';
import { closedPort, serve } from '../../support/token-endpoint.js';

const CANARY = 'ya29.canary-of-the-metadata-server';

interface Machine {
  readonly source: TokenSource;
  readonly clock: FakeClock;
  readonly asked: string[];
  readonly logs: string[];
}

function machine(t: Test, env: Record<string, string>, universe = 'googleapis.com'): Omit<Machine, 'asked'> {
  const clock = new FakeClock();
  const logs: string[] = [];
  const book = new Identities({
    clock,
    log: createLogger({ level: 'trace', format: 'json', write: (line: string) => logs.push(line) }),
    env: { HOME: t.testdir({}), ...env },
    universe,
    iam: { endpoint: 'http://127.0.0.1:9', dispatcher: async () => new Agent() },
  });
  return { source: book.open('default', { source: 'auto' }), clock, logs };
}

type Answer = (path: string, response: ServerResponse) => void;

const token: Answer = (path, response) => {
  response.setHeader('Metadata-Flavor', 'Google');
  if (path.endsWith('/token')) response.end(JSON.stringify({ access_token: CANARY, expires_in: 3599 }));
  else if (path.endsWith('/email')) response.end('build@p.iam.gserviceaccount.com');
  else response.writeHead(404).end();
};

async function server(t: Test, answer: Answer): Promise<{ host: string; asked: string[] }> {
  const asked: string[] = [];
  const origin = await serve(t, ({ url = '', headers }: IncomingMessage, _body, response) => {
    asked.push(url);
    if (headers['metadata-flavor'] !== 'Google') response.writeHead(403).end();
    else answer(url.split('?')[0] ?? '', response);
  });
  return { host: origin.replace('http://', ''), asked };
}

t.test('a machine of Google’s: its tokens, both scopes, its account', async (t) => {
  const { host, asked } = await server(t, token);
  // A forward proxy is not asked for what is inside the machine.
  const proxy = { HTTP_PROXY: await closedPort(), http_proxy: await closedPort() };
  t.intercept(process, 'env', { value: { ...process.env, ...proxy, GOOGLE_SDK_NODE_LOGGING: '*' } });
  const { source, clock, logs } = machine(t, { GCE_METADATA_HOST: host, ...proxy });
  t.equal(source.description, "the metadata server's service account");
  t.match(await source.get(), { value: CANARY, expiresAt: clock.now() + 3_599_000 });
  t.equal(source.description, 'build@p.iam.gserviceaccount.com');
  t.equal(source.origin, 'metadata-server');
  t.match(asked.join(' '), /default\/token\?scopes=.*cloud-platform.*userinfo\.email/);
  t.match(logs[0], /"source":"metadata server"/, 'the choice of auto is told');
  t.notOk(logs.join('').includes(CANARY));
});

t.test('a machine that is none of Google’s: who must act is told, and later it may be one', async (t) => {
  const answered: { now: Answer } = {
    now: (_path, response) => void response.writeHead(200).end('a router says hello'),
  };
  const { host } = await server(t, (path, response) => answered.now(path, response));
  const { source, clock } = machine(t, { GCE_METADATA_HOST: host });
  await t.rejects(source.get(), {
    code: 'credentials-missing',
    message: /no Google credentials .*no metadata server of Google.*; run: gcloud auth application-default login$/,
  });
  answered.now = token;
  clock.advance(1000);
  t.equal((await source.get()).value, CANARY, 'its absence is not remembered for ever');
  const closed = (await closedPort()).replace('http://', '');
  await t.rejects(machine(t, { GCE_METADATA_HOST: closed }).source.get(), {
    code: 'credentials-missing',
    message: /no metadata server answers: ECONNREFUSED/,
  });
  await t.rejects(machine(t, { GCE_METADATA_HOST: host, METADATA_SERVER_DETECTION: 'none' }).source.get(), {
    code: 'credentials-missing',
    message: /switched off/,
  });
});

t.test('troubles of the metadata server', async (t) => {
  const google =
    (status: number, text = ''): Answer =>
    (path, response) =>
      void response.writeHead(path.endsWith('/token') ? status : 404, { 'Metadata-Flavor': 'Google' }).end(text);
  for (const [answer, code, message] of [
    [google(404), 'credentials-missing', /knows no service account/],
    [google(503, 'later'), 'token-unavailable', /HTTP 503: later/],
    [google(200, CANARY), 'token-unavailable', /something else than a token$/],
  ] as const) {
    const { host } = await server(t, answer);
    await t.rejects(machine(t, { GCE_METADATA_HOST: host }).source.get(), { code, message });
  }
});

t.test('a machine of another universe has no tokens for these endpoints', async (t) => {
  const { host } = await server(t, (path, response) => {
    if (!path.endsWith('/universe-domain')) return token(path, response);
    response.setHeader('Metadata-Flavor', 'Google');
    response.end('example.cloud\n');
  });
  await t.rejects(machine(t, { GCE_METADATA_HOST: host }).source.get(), {
    code: 'universe-mismatch',
    message: /of the universe example\.cloud/,
  });
  t.equal((await machine(t, { GCE_METADATA_HOST: host }, 'example.cloud').source.get()).value, CANARY);
});
