import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createBench, RemoteClient, rawUpgrade } from './pod-bench.js';

const STREAMS = { stdout: 'true', stderr: 'true' };

t.test('a command gives its output, its errors and its exit code as a real server does', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  const client = new RemoteClient(
    bench.url(uid, 'exec', { ...STREAMS, command: ['sh', '-c', 'echo hi; echo no >&2; exit 3'] }),
  );
  const result = await client.result;
  t.same(result.messages[0], Buffer.of(1), 'the first message is an empty one on stdout');
  t.equal(result.stdout.toString(), 'hi\n');
  t.equal(result.stderr.toString(), 'no\n');
  t.equal(
    result.statusText,
    '{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}',
  );
  t.equal(result.code, 1000);
});

t.test('stdin ends alone with the close channel of v5', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  const client = new RemoteClient(bench.url(uid, 'exec', { ...STREAMS, stdin: 'true', command: 'cat' }));
  await client.opened;
  await client.send(0, 'abc\n');
  client.endStdin();
  const result = await client.result;
  t.equal(result.stdout.toString(), 'abc\n');
  t.equal(result.statusText, '{"metadata":{},"status":"Success"}');
});

t.test('50 MB go in and out byte for byte', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  const size = 50 * 1024 * 1024;
  const block = randomBytes(1024 * 1024);
  const hash = createHash('sha256');
  const upload = new RemoteClient(
    bench.url(uid, 'exec', { ...STREAMS, stdin: 'true', command: ['sh', '-c', 'cat > big; wc -c < big'] }),
  );
  await upload.opened;
  for (let sent = 0; sent < size; sent += block.length) {
    hash.update(block);
    for (let at = 0; at < block.length; at += 32768) await upload.send(0, block.subarray(at, at + 32768));
  }
  upload.endStdin();
  t.equal((await upload.result).stdout.toString().trim(), String(size));
  t.ok(existsSync(join(bench.rootDir, uid, 'main', 'big')), "in the container's own folder");
  const download = new RemoteClient(bench.url(uid, 'exec', { ...STREAMS, command: ['cat', 'big'] }));
  const { stdout, status } = await download.result;
  t.equal(createHash('sha256').update(stdout).digest('hex'), hash.digest('hex'));
  t.match(status, { status: 'Success' });
});

t.test('a program that is not there is a Failure in the words of a real node', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  const { status, code } = await new RemoteClient(bench.url(uid, 'exec', { ...STREAMS, command: 'nosuch' })).result;
  t.match(status, {
    status: 'Failure',
    message:
      /^Internal error occurred: Internal error occurred: error executing command in container: .*exec: "nosuch": executable file not found in \$PATH$/,
    reason: 'InternalError',
    code: 500,
  });
  t.equal(code, 1000);
});

t.test('a client that goes away ends the stdin of its command, which goes on without output', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  const client = new RemoteClient(
    bench.url(uid, 'exec', {
      ...STREAMS,
      stdin: 'true',
      command: ['sh', '-c', 'echo ready; cat > part; echo done; mkfifo end; echo ok > state; cat end'],
    }),
  );
  await client.opened;
  await client.send(0, 'short');
  await client.sees('ready');
  client.socket.terminate();
  const look = new RemoteClient(
    bench.url(uid, 'exec', { ...STREAMS, command: ['sh', '-c', 'until test -s state; do sleep 0.02; done; cat part'] }),
  );
  t.equal((await look.result).stdout.toString(), 'short');
});

t.test('a terminal has a size, follows a resize, and ends with its shell', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  const client = new RemoteClient(
    bench.url(uid, 'exec', { stdin: 'true', stdout: 'true', tty: 'true', command: ['sh'] }),
  );
  await client.opened;
  await client.send(4, '{"Width":101,"Height":37}\n');
  await client.send(0, 'stty size; echo "T=$TERM"; tty\n');
  await client.sees('37 101');
  await client.send(4, '{"Width":55,"Height":20}\n');
  await client.send(0, 'stty size; exit 4\n');
  const result = await client.result;
  t.match(result.stdout.toString(), /37 101[\s\S]*T=xterm[\s\S]*\/dev\/pts[\s\S]*20 55/);
  t.match(result.status, { details: { causes: [{ reason: 'ExitCode', message: '4' }] } });
});

t.test('the older subprotocols answer in their own form', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  const url = bench.url(uid, 'exec', { ...STREAMS, command: ['sh', '-c', 'echo hi;exit 3'] });
  const message =
    'command terminated with non-zero exit code: error executing command [sh -c echo hi;exit 3], exit code 3';
  t.match(await new RemoteClient(url, 'v4.channel.k8s.io').result, { status: { message } });
  t.equal((await new RemoteClient(url, 'channel.k8s.io').result).statusText, message);
  const base64 = await new RemoteClient(url, 'v4.base64.channel.k8s.io').result;
  t.same(base64.messages.slice(0, 2).map(String), ['1', '1aGkK']);
});

t.test('an upgrade that cannot be served is refused with a Status', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  const refusal = async (path: string, protocol = 'v5.channel.k8s.io') => {
    const answer = await rawUpgrade(bench.port, path, protocol);
    return { line: answer.split('\r\n')[0], body: JSON.parse(answer.split('\r\n\r\n')[1] ?? 'null') as unknown };
  };
  t.match(await refusal(`/nopod/exec?command=sh&stdout=true`), { line: /404/, body: { kind: 'Status', code: 404 } });
  t.match(await refusal(`/${uid}/exec?command=sh&stdout=true&container=other`), { line: /404/ });
  t.match(await refusal(`/${uid}/exec?command=sh`), { body: { message: /at least 1 of stdin/ } });
  t.match(await refusal(`/${uid}/exec?stdout=1`), { body: { message: /at least 1 command/ } });
  t.match(await refusal(`/${uid}/exec?stdout=1&command=sh`, 'v9'), { line: /403/, body: { message: /v5\.channel/ } });
});

t.test('a pod ends with all that was started in it', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ command: ['sh', '-c', 'sleep 1000 & echo $! > child; wait'] });
  const client = new RemoteClient(
    bench.url(uid, 'exec', {
      ...STREAMS,
      command: ['sh', '-c', 'until test -s child; do sleep 0.02; done; echo $$; exec sleep 1000'],
    }),
  );
  await client.sees('\n');
  const child = Number(readFileSync(join(bench.rootDir, uid, 'main', 'child'), 'utf8'));
  const executed = Number(client.channel(1).toString());
  await bench.runtime.stop(uid, { graceMs: 5000 });
  await client.result;
  for (const pid of [child, executed]) t.equal(await deathOf(pid), 'dead');
  t.same(bench.runtime.statuses(uid), []);
  t.notOk(existsSync(join(bench.rootDir, uid)));
});

/** A killed process stays as a zombie until its parent, here the machine's init, has noticed. */
async function deathOf(pid: number): Promise<string> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      if (stat.slice(stat.lastIndexOf(')')).startsWith(') Z')) return 'dead';
    } catch {
      return 'dead';
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return 'alive';
}
