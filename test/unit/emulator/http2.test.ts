import { once } from 'node:events';
import * as http2 from 'node:http2';
import t, { type Test } from 'tap';
import type { CutForm } from '../../../src/emulator/google/faults.js';
import '../../support/listener-leaks.js';
import { EDGE, openGoogleBench, PROD } from './google-bench.js';

type Bench = Awaited<ReturnType<typeof openGoogleBench>>;

async function connected(t: Test, bench: Bench): Promise<http2.ClientHttp2Session> {
  const session = http2.connect(bench.emulator.url, { ca: bench.emulator.caCertificate });
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  await once(session, 'connect');
  return session;
}

interface Heard {
  readonly status: number;
  readonly body: string;
  /** The stream's code; undefined where its end was in order. */
  readonly code?: number;
}

async function call(session: http2.ClientHttp2Session, bench: Bench, path: string): Promise<Heard> {
  const stream = session.request({ ':path': path, authorization: `Bearer ${bench.emulator.accessToken}` });
  let [status, body] = [0, ''];
  stream.on('response', (headers) => {
    status = Number(headers[':status']);
  });
  stream.setEncoding('utf8').on('data', (text: string) => {
    body += text;
  });
  stream.on('error', () => {});
  let ended = false;
  stream.on('end', () => {
    ended = true;
  });
  if (!stream.closed) await new Promise((resolve) => stream.once('close', resolve));
  const code = stream.rstCode;
  return { status, body, ...(ended && code === 0 ? {} : { code: code ?? -1 }) };
}

t.test('what is asked over HTTP/2 reaches the cluster as over HTTP/1.1', async (t) => {
  const bench = await openGoogleBench(t);
  const session = await connected(t, bench);
  const came = bench.cluster.next();
  const heard = call(session, bench, `${PROD}/api/v1/pods?watch=true`);
  const { request, response, context } = await came;
  t.equal(context.target, '/api/v1/pods?watch=true');
  t.equal(request.headers.authorization, undefined);
  t.notOk(request.rawHeaders.some((name) => name.startsWith(':') || name.toLowerCase() === 'authorization'));
  t.equal(request.rawHeaders[0], 'host');
  response?.write('one ');
  response?.end('two');
  t.strictSame(await heard, { status: 200, body: 'one two' });
  t.equal((await call(session, bench, '/nothing/here')).status, 404);
});

t.test(
  'a watch over HTTP/2 is cut after exactly so many bytes, and alone where the form is of one stream',
  async (t) => {
    const bench = await openGoogleBench(t);
    const alone: readonly CutForm[] = ['rst-stream', 'close-1011', 'clean-end', 'close-1000', 'close-1001'];
    const together: readonly CutForm[] = ['reset', 'fin', 'close-1006', 'goaway'];
    for (const form of [...alone, ...together]) {
      const session = await connected(t, bench);
      const other = bench.cluster.next();
      const staying = call(session, bench, `${EDGE}/api/v1/pods?watch=true`);
      const { response: quiet } = await other;
      quiet?.write('still ');
      bench.emulator.faults.add({ cutAfterBytes: 25, form, membership: 'prod', times: 1 });
      const came = bench.cluster.next();
      const heard = call(session, bench, `${PROD}/api/v1/pods?watch=true`);
      const { response, context } = await came;
      for (let i = 0; i < 10; i++) response?.write(`line ${i} of it\n`);
      const { body, code } = await heard;
      t.equal(body.length, 25, form);
      const orderly = ['clean-end', 'close-1000', 'close-1001'].includes(form);
      t.equal(code === undefined, orderly, `${form}: ${code}`);
      t.ok(context.signal.aborted);
      if (alone.includes(form)) quiet?.end('there');
      const { body: rest, code: end } = await staying;
      t.equal(rest === 'still there' && end === undefined, alone.includes(form), `${form}: ${rest} ${end}`);
    }
    t.equal(bench.emulator.activeStreams(), 0);
  },
);

t.test('many watches of one connection that end together wait for its end with one listener', async (t) => {
  const bench = await openGoogleBench(t);
  for (const form of ['fin', 'close-1006'] as const) {
    const session = await connected(t, bench);
    const heard: Promise<Heard>[] = [];
    for (let i = 0; i < 20; i++) {
      const came = bench.cluster.next();
      heard.push(call(session, bench, `${PROD}/api/v1/pods?watch=true`));
      await came;
    }
    t.equal(bench.emulator.faults.cutNow(form, { match: 'watch' }), 20);
    for (const { code } of await Promise.all(heard)) t.not(code, undefined);
  }
});
