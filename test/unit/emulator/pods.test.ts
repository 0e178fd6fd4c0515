import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { createBench, FakeClock, RemoteClient, rawUpgrade } from './pod-bench.js';

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
  t.match(await refusal(`/${uid}/exec?command=sh&stdout=true&container=other`), {
    line: /400/,
    body: { message: /other is not valid .* main/ },
  });
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

t.test('a container starts again with growing pauses, as its policy says', async (t) => {
  const clock = new FakeClock();
  const bench = await createBench(t, { clock });
  const ended = async (restartPolicy: 'Always' | 'OnFailure' | 'Never', code: number) => {
    const uid = await bench.startPod({ command: ['sh', '-c', `exit ${code}`] }, { restartPolicy });
    return { uid, status: await bench.until(uid, ({ state }) => state.kind === 'terminated') };
  };
  t.match(await ended('Never', 1), { status: { state: { kind: 'terminated', exitCode: 1 }, restartCount: 0 } });
  t.match(await ended('OnFailure', 0), { status: { state: { kind: 'terminated', exitCode: 0 } } });
  const { uid } = await ended('Always', 7);
  clock.advance(100);
  const again = await bench.until(uid, ({ state }) => state.kind === 'waiting' && state.reason === 'CrashLoopBackOff');
  t.match(again, { restartCount: 1, lastTermination: { kind: 'terminated', exitCode: 7 } });
  clock.advance(499);
  t.equal(bench.runtime.statuses(uid)[0]?.restartCount, 1);
  clock.advance(1);
  t.equal(bench.runtime.statuses(uid)[0]?.restartCount, 2);
});

t.test('a program that cannot be started ends its container with 128 and says why in the log', async (t) => {
  const bench = await createBench(t);
  bench.runtime.start({
    uid: 'bad',
    namespace: 'default',
    name: 'bad',
    restartPolicy: 'Never',
    containers: [{ name: 'main', image: 'x', command: ['nosuch'] }],
  });
  const { state } = await bench.until('bad', (status) => status.state.kind === 'terminated');
  t.match(state, { exitCode: 128 });
  const log = { follow: true, previous: false, timestamps: false };
  t.match(
    await text(bench.runtime.openLog('bad', 'main', log, new AbortController().signal)),
    /"nosuch": executable file not found/,
  );
  const refused = await rawUpgrade(bench.port, '/bad/exec?command=sh&stdout=1', 'v5.channel.k8s.io');
  t.match(refused, /^HTTP\/1\.1 500 .*container not found/s);
});

t.test('a program runs in its private folder with its own environment', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({
    env: [{ name: 'COLOR', value: 'blue' }, { name: 'EMPTY' }],
    workingDir: '/srv/app',
  });
  const run = async (script: string) =>
    (
      await new RemoteClient(bench.url(uid, 'exec', { ...STREAMS, command: ['sh', '-c', script] })).result
    ).stdout.toString();
  const folder = join(bench.rootDir, uid, 'main');
  t.equal(await run('pwd'), `${folder}/srv/app\n`);
  t.equal(await run('echo "$HOME $TMPDIR $HOSTNAME $COLOR[$EMPTY]"'), `${folder} ${folder}/tmp pod-1 blue[]\n`);
  process.env.CGP_TEST_SECRET = 'x';
  t.teardown(() => delete process.env.CGP_TEST_SECRET);
  t.equal(await run('env | grep -c CGP_TEST_SECRET'), '0\n', "nothing of the emulator's own environment");
});

t.test('the hello workload writes a line a second', async (t) => {
  const clock = new FakeClock();
  const bench = await createBench(t, { clock });
  const uid = await bench.startPod();
  clock.advance(2500);
  const log = { follow: false, previous: false, timestamps: false };
  const signal = new AbortController().signal;
  const lines = '1 hello from pod-1\n2 hello from pod-1\n3 hello from pod-1\n';
  t.equal(await text(bench.runtime.openLog(uid, 'main', log, signal)), lines);
  await bench.runtime.stop(uid, { graceMs: 1000 });
});

t.test('attachments share the input of a box, and see its output from now on', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ image: 'registry.example/box:1', stdin: true });
  const attach = async () => {
    const client = new RemoteClient(bench.url(uid, 'attach', { stdin: 'true', stdout: 'true', stderr: 'true' }));
    await client.opened;
    // The empty first message says that the server is listening.
    await client.sees('');
    return client;
  };
  const first = await attach();
  await first.send(0, 'one\n');
  await first.sees('one\n');
  first.socket.terminate();
  const second = await attach();
  const third = await attach();
  second.endStdin();
  await third.send(0, 'two\n');
  await Promise.all([second.sees('two\n'), third.sees('two\n')]);
  t.equal(second.channel(1).toString(), 'two\n', 'earlier output is not repeated');
  await bench.runtime.stop(uid, { graceMs: 0 });
  t.match(await third.result, { status: { status: 'Success' }, code: 1000 });
});

t.test('stdinOnce ends the input with its first attachment', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ command: ['cat'], stdin: true, stdinOnce: true }, { restartPolicy: 'Never' });
  const client = new RemoteClient(bench.url(uid, 'attach', { stdin: 'true', stdout: 'true' }));
  await client.opened;
  await client.send(0, 'all\n');
  client.endStdin();
  const { stdout, status } = await client.result;
  t.equal(stdout.toString(), 'all\n');
  t.match(status, { status: 'Success' });
});

t.test('attach reaches the terminal of a container that has one', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod({ command: ['sh'], stdin: true, tty: true });
  const client = new RemoteClient(bench.url(uid, 'attach', { stdin: 'true', stdout: 'true', tty: 'true' }));
  await client.opened;
  await client.send(4, '{"Width":99,"Height":33}');
  await client.send(0, 'stty size; exit\n');
  t.match((await client.result).stdout.toString(), /33 99/);
});

t.test('a client that does not read holds up the program, not the memory', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  const client = new RemoteClient(
    bench.url(uid, 'exec', { ...STREAMS, command: ['sh', '-c', 'head -c 60000000 /dev/zero; touch finished'] }),
  );
  await client.opened;
  client.socket.pause();
  const folder = join(bench.rootDir, uid, 'main');
  const probe = new RemoteClient(
    bench.url(uid, 'exec', { ...STREAMS, command: ['sh', '-c', 'sleep 0.5; ls finished'] }),
  );
  t.match((await probe.result).status, { status: 'Failure' }, 'not finished while nobody reads');
  client.socket.resume();
  t.equal((await client.result).stdout.length, 60_000_000);
  t.ok(existsSync(join(folder, 'finished')));
});

t.test('an input that nobody reads holds up the client, and a program that ends lets go', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  const client = new RemoteClient(
    bench.url(uid, 'exec', {
      ...STREAMS,
      stdin: 'true',
      command: ['sh', '-c', 'until test -e go; do sleep 0.02; done; exit 6'],
    }),
  );
  await client.opened;
  const block = Buffer.alloc(32 * 1024);
  // More than the sockets' buffers take: the rest must wait in the client.
  for (let index = 0; index < 1000; index++) client.socket.send(Buffer.concat([Buffer.of(0), block]));
  const touch = new RemoteClient(bench.url(uid, 'exec', { ...STREAMS, command: ['sh', '-c', 'sleep 0.3; touch go'] }));
  await touch.result;
  t.match((await client.result).status, { details: { causes: [{ message: '6' }] } });
});

t.test('a cut by the gateway ends the session without a Status', async (t) => {
  const bench = await createBench(t);
  const uid = await bench.startPod();
  const client = new RemoteClient(bench.url(uid, 'exec', { ...STREAMS, command: ['sh', '-c', 'echo up; sleep 1000'] }));
  await client.sees('up');
  bench.cut();
  t.match(await client.result, { code: 1006, statusText: '' });
});

t.test('a pod that does not heed TERM is killed after its grace, or at once when asked again', async (t) => {
  const clock = new FakeClock();
  const bench = await createBench(t, { clock });
  const startStubborn = async (): Promise<string> => {
    const uid = await bench.startPod({
      command: ['sh', '-c', 'trap "echo no" TERM; echo up; while :; do sleep 0.01; done'],
    });
    await logged(uid, 'up\n');
    return uid;
  };
  const logged = async (uid: string, line: string): Promise<void> => {
    const log = { follow: true, previous: false, timestamps: false };
    for await (const chunk of bench.runtime.openLog(uid, 'main', log, new AbortController().signal)) {
      if (String(chunk).includes(line)) return;
    }
  };
  const first = await startStubborn();
  const stopping = bench.runtime.stop(first, { graceMs: 30_000 });
  await logged(first, 'no\n');
  clock.advance(29_999);
  t.match(bench.runtime.statuses(first), [{ state: { kind: 'running' } }]);
  clock.advance(1);
  await stopping;
  t.same(bench.runtime.statuses(first), []);
  const second = await startStubborn();
  const slow = bench.runtime.stop(second, { graceMs: 30_000 });
  await bench.runtime.stop(second, { graceMs: 0 });
  await slow;
  await bench.runtime.stop('unknown', { graceMs: 0 });
  t.throws(() =>
    bench.runtime.start({ uid: '../up', namespace: 'd', name: 'x', restartPolicy: 'Never', containers: [] }),
  );
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
