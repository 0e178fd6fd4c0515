import { existsSync, readdirSync, readFileSync } from 'node:fs';
import t from 'tap';

/** The stories that hold each row's promises: by file, and by a part of the title as it stands in the source. */
const PROOFS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  'request in flight': {
    'test/unit/relays/relay-request': [
      'a keep-alive connection that died meanwhile is replaced for a GET',
      'never by repeating a write',
      'a gateway that dies in mid-body breaks',
    ],
  },
  watch: {
    'test/faults/watch': [
      'again and again, shows every event once',
      'while it resumes goes on all the same',
      'a slow client slows a watch',
      'too old reaches the client unchanged',
      'a cut before the listing is complete ends cleanly',
    ],
    'test/faults/reflector': ['lists once, whatever is cut'],
    'test/faults/http2': ['a watch over HTTP/2 that is cut by'],
    'test/kubectl/watch-log-cuts': ['watches and followed logs do not notice'],
  },
  'logs -f': {
    'test/faults/log-follow': [
      'every few bytes shows every line once',
      'while it resumes goes on all the same',
      'a slow client slows a followed log',
      'ends the log after the rest of its last instance',
    ],
    'test/faults/http2': ['a followed log over HTTP/2 that is cut by'],
    'test/kubectl/watch-log-cuts': ['watches and followed logs do not notice'],
  },
  attach: {
    'test/faults/exec-attach': ['story(`attach, ', 'attach: the container '],
    'test/faults/exec-attach-spdy': ['attach over SPDY'],
    'test/kubectl/exec-cuts': ['attach goes on'],
  },
  'exec, interactive shell with a tty': {
    'test/faults/exec-attach': ['story(`a bare shell, ', 'exec.onCutoff is end'],
    'test/faults/exec-attach-spdy': ['a bare shell over SPDY'],
    'test/kubectl/exec-cuts': ['a shell in a terminal is opened anew'],
  },
  'exec, anything else; cp': {
    'test/faults/exec-attach': ['a Failure, never run again'],
    'test/faults/exec-attach-spdy': ['a Failure, never run again'],
    'test/kubectl/exec-cuts': ['a command ends with the truth', 'a copy out of the container'],
  },
  'exec and cp with `exec.onCutoff: survive`': {
    'test/faults/held-exec': [
      'every form of a cut, in every container',
      'a terminal: a shell with all that it has',
      'an upload and a download of 4 MiB',
      'a command is started once, however often its start is cut',
      'a pod that is deleted, a container that ends: the reason is told',
    ],
    'test/kubectl/survive': ['while the gateway cuts every 2 s'],
  },
  'port-forward': {
    'test/faults/port-forward': [
      'open connections are reset, the session goes on',
      'a cut while redialling',
      'rotation: another tunnel before the cutoff, the old one drains',
      'new connections wait 30 s',
      'the pod is gone',
    ],
    'test/kubectl/port-forward-cuts': [
      'ports go on through three cuts',
      'no client meets the cutoff',
      'with any kubectl: none fails',
    ],
  },
  "a lost agent, a 5xx, Google's 429": {
    'test/faults/agent-lost': ['whose agent is lost for five minutes'],
    'test/faults/failures': ['a watch that was accepted before', 'plain requests'],
  },
  'sleep, another network': {
    'test/faults/sleep': ['asked for anew at once', 'attach: a gateway that does not answer', 'port-forward: a tunnel'],
  },
};

const readme = readFileSync('README.md', 'utf8');
const section = /^## What a session survives\n([\s\S]*?)\n## /m.exec(readme)?.[1] ?? '';
const rows = section
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| stream |'))
  .map((line) => {
    const [stream = '', , named = ''] = line.slice(2, -2).split(' | ');
    return { stream, tests: [...named.matchAll(/`([^`]+)`/g)].map(([, path]) => path ?? '') };
  });

t.test('every row names the tests that hold it, and these are there', async (t) => {
  const known = Object.keys(PROOFS);
  t.strictSame(
    rows.map(({ stream }) => stream.replace(/ \(.*/, '')),
    known,
  );
  for (const [index, { stream, tests }] of rows.entries()) {
    const proofs = PROOFS[known[index] ?? ''] ?? {};
    t.strictSame(tests, Object.keys(proofs), `${stream}: the tests that are named`);
    for (const [path, titles] of Object.entries(proofs)) {
      const file = `${path}.test.ts`;
      t.ok(existsSync(file), file);
      const source = existsSync(file) ? readFileSync(file, 'utf8') : '';
      for (const title of titles) t.ok(source.includes(title), `${file}: ${title}`);
    }
  }
});

t.test('every test that cuts streams is named', async (t) => {
  const named = new Set(rows.flatMap(({ tests }) => tests));
  for (const name of readdirSync('test/faults')) {
    const cuts = /_CUTS\b|\bCUTS\b|\bCUT_FORMS\b/.test(readFileSync(`test/faults/${name}`, 'utf8'));
    if (cuts) t.ok(named.has(`test/faults/${name.replace('.test.ts', '')}`), name);
  }
});
