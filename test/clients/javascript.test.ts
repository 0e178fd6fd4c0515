import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import * as http from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import {
  Attach,
  CoreV1Api,
  Cp,
  Exec,
  KubeConfig,
  Log,
  makeInformer,
  PortForward,
  type V1ConfigMap,
  type V1Status,
  Watch,
} from '@kubernetes/client-node';
import t from 'tap';
import { COUNTED, openClientScene, PODS } from './client-scene.js';

const NAMESPACE = 'default';

t.test('the JavaScript client', async (t) => {
  const scene = await openClientScene();
  t.teardown(() => scene.end());
  const config = new KubeConfig();
  config.loadFromFile(scene.daemon.kubeconfig);
  config.setCurrentContext('prod');
  const core = config.makeApiClient(CoreV1Api);
  const create = (name: string): Promise<V1ConfigMap> =>
    core.createNamespacedConfigMap({ namespace: NAMESPACE, body: { metadata: { name }, data: { n: '0' } } });
  const count = async (name: string): Promise<void> => {
    for (const n of COUNTED.slice(1)) {
      const body = { metadata: { name }, data: { n: String(n) } };
      await core.replaceNamespacedConfigMap({ name, namespace: NAMESPACE, body });
    }
  };

  await t.test('lists, and tells what is missing', async (t) => {
    const { items } = await core.listNamespacedPod({ namespace: NAMESPACE });
    t.strictSame(items.map((pod) => pod.metadata?.name?.split('-')[0] ?? '').sort(), PODS);
    await t.rejects(core.readNamespacedPod({ name: 'nonesuch', namespace: NAMESPACE }), { code: 404 });
  });

  await t.test('watches over cuts', async (t) => {
    await create('watched');
    const before = scene.cuts();
    const numbers: number[] = [];
    const query = { fieldSelector: 'metadata.name=watched' };
    const watch = new Watch(config);
    await new Promise<void>((resolve, reject) => {
      const path = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
      const onEvent = (_type: string, map: V1ConfigMap): void => {
        numbers.push(Number(map.data?.['n']));
        if (numbers.length === 1) slowly(() => count('watched')).catch(reject);
        if (numbers.at(-1) === COUNTED.at(-1)) resolve();
      };
      watch.watch(path, query, onEvent, (error) => reject(error ?? new Error('the watch ended'))).catch(reject);
    });
    t.strictSame(numbers, COUNTED, 'every change once, in order');
    t.ok(scene.cuts() > before, 'it was cut meanwhile');
  });

  await t.test('an informer over several cuts lists once', async (t) => {
    await create('informed');
    const lists = scene.lists('configmaps');
    const before = scene.cuts();
    const informer = makeInformer(config, `/api/v1/namespaces/${NAMESPACE}/configmaps`, () =>
      core.listNamespacedConfigMap({ namespace: NAMESPACE }),
    );
    const numbers: number[] = [];
    const failures: unknown[] = [];
    informer.on('error', (error) => failures.push(error));
    await new Promise<void>((resolve, reject) => {
      informer.on('update', (map) => {
        if (map.metadata?.name !== 'informed') return;
        numbers.push(Number(map.data?.['n']));
        if (numbers.at(-1) === COUNTED.at(-1) && scene.cuts() >= before + 4) resolve();
        else if (numbers.at(-1) === COUNTED.at(-1)) count('informed').catch(reject);
      });
      informer.start().then(() => count('informed'), reject);
    });
    t.strictSame(failures, []);
    await informer.stop();
    const rounds = numbers.length / (COUNTED.length - 1);
    t.strictSame(numbers, Array.from({ length: rounds }, () => COUNTED.slice(1)).flat(), 'every change once, in order');
    t.equal(scene.lists('configmaps') - lists, 1, 'only its own first list');
  });

  await t.test('follows a log over cuts', async (t) => {
    const sink = new PassThrough();
    const before = scene.cuts();
    const following = await new Log(config).log(NAMESPACE, 'two', 'main', sink, { follow: true, tailLines: 1 });
    const numbers: number[] = [];
    for await (const line of Readable.from(linesOf(sink))) {
      numbers.push(Number.parseInt(line, 10));
      if (numbers.length >= 4 && scene.cuts() >= before + 3) break;
    }
    following.abort();
    t.strictSame(
      numbers,
      numbers.map((_number, index) => (numbers[0] ?? 0) + index),
      'every line once, in order',
    );
  });

  await t.test('runs commands', async (t) => {
    t.strictSame(await run(config, ['sh', '-c', 'echo out; echo err >&2; exit 3']), {
      stdout: 'out\n',
      stderr: 'err\n',
      status: 'Failure',
      exitCode: '3',
    });
    const large = randomBytes(1024 * 1024).toString('hex');
    const echoed = await run(config, ['head', '-c', String(large.length)], Readable.from([large]));
    t.equal(echoed.stdout === large, true, '2 MiB there and back');
    t.equal(echoed.status, 'Success');
  });

  await t.test('attaches', async (t) => {
    const stdin = new PassThrough();
    const stdout = new PassThrough();
    const socket = await new Attach(config).attach(NAMESPACE, 'box', 'box', stdout, null, stdin, false);
    const word = randomBytes(6).toString('hex');
    // Earlier output is not repeated: speak until the echo comes.
    const speak = setInterval(() => stdin.write(`${word}\n`), 100);
    for await (const line of Readable.from(linesOf(stdout))) if (line.includes(word)) break;
    clearInterval(speak);
    socket.close();
    t.pass('what is typed comes back');
  });

  // Its cpFromPod cannot work with any server: it feeds what tar has compressed to a reader of plain archives.
  await t.test('copies into the container', async (t) => {
    const folder = join(scene.folder, 'copied');
    mkdirSync(folder);
    const content = randomBytes(2 * 1024 * 1024);
    writeFileSync(join(folder, 'up.bin'), content);
    await new Cp(config).cpToPod(NAMESPACE, 'box', 'box', folder, '.');
    // It does not say when it is done.
    const sum = createHash('sha256').update(content).digest('hex');
    const arrived = await until(async () => (await run(config, ['sha256sum', 'up.bin'])).stdout.startsWith(sum));
    t.equal(arrived, true, 'it arrived byte for byte');
  });

  await t.test('forwards a port', async (t) => {
    const forward = new PortForward(config, true);
    const server = createServer((socket) => {
      socket.on('error', () => {});
      forward.portForward(NAMESPACE, 'two', [8080], socket, null, socket).catch(() => socket.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => server.close());
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const bodies = await Promise.all(['/', '/', '/bytes/3000000'].map((path) => fetchOver(port, path)));
    t.match(bodies[0]?.toString(), /hello from two/);
    t.match(bodies[1]?.toString(), /hello from two/);
    t.equal(bodies[2]?.length, 3_000_000);
  });
});

/** Gives the gateway the time to cut in between. */
async function slowly(tell: () => Promise<void>): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 600));
  await tell();
}

async function* linesOf(stream: Readable): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

async function until(done: () => Promise<boolean>): Promise<boolean> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (await done().catch(() => false)) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}

async function run(
  config: KubeConfig,
  command: string[],
  stdin?: Readable,
): Promise<{ stdout: string; stderr: string; status?: string | undefined; exitCode?: string | undefined }> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const outputs = Promise.all([text(stdout), text(stderr)]);
  const status = await new Promise<V1Status>((resolve, reject) => {
    new Exec(config)
      .exec(NAMESPACE, 'box', 'box', command, stdout, stderr, stdin ?? null, false, resolve)
      .then((socket) => socket.on('error', reject), reject);
  });
  stdout.end();
  stderr.end();
  const [out, err] = await outputs;
  const exitCode = status.details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
  return { stdout: out, stderr: err, status: status.status, ...(exitCode === undefined ? {} : { exitCode }) };
}

/** This client never ends a forwarded connection by itself: the answer's length must. */
function fetchOver(port: number, path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
      buffer(response).then((body) => {
        request.destroy();
        resolve(body);
      }, reject);
    });
    request.on('error', reject);
  });
}
