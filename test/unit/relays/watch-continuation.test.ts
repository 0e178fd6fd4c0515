import t from 'tap';
import { WatchContinuation } from '../../../src/relays/watch-continuation.js';
import { lent } from '../../support/lent.js';

const TARGET = '/api/v1/pods?watch=1&resourceVersion=1';

const event = (type: string, version: number, spec = ''): string =>
  `${JSON.stringify({ type, object: { metadata: { name: 'a', resourceVersion: String(version) }, spec } })}\n`;

function watch(target = TARGET): WatchContinuation {
  const continuation = new WatchContinuation({ target, now: 0 });
  t.ok(continuation.begin(['Content-Type', 'application/json']));
  return continuation;
}

const said = (pieces: readonly Buffer[]): string => Buffer.concat(pieces).toString();

async function resumesAt(continuation: WatchContinuation): Promise<string | undefined> {
  const step = await continuation.next(undefined, { now: 0, clean: false });
  return step.kind === 'resume' ? (/resourceVersion=(\d+)$/.exec(step.target)?.[1] ?? '') : step.kind;
}

t.test('a cut at any byte resumes behind the last event that was whole, whatever the chunks were', async (t) => {
  const events = [
    event('ADDED', 2),
    event('MODIFIED', 3, 'x'.repeat(5000)),
    event('BOOKMARK', 4),
    event('MODIFIED', 5),
    event('DELETED', 6),
    event('MODIFIED', 7, '"ERROR"'),
  ];
  const body = Buffer.from(events.join(''));
  for (const size of [1, 50, 4500, body.length]) {
    for (let cut = 0; cut <= body.length; cut += 97) {
      const continuation = watch();
      let heard = '';
      for (let at = 0; at < cut; at += size)
        heard += lent(body.subarray(at, Math.min(cut, at + size)), (chunk) => continuation.push(chunk)).toString();
      let [expected, version, end] = ['', 1, 0];
      for (const [i, text] of events.entries()) {
        end += text.length;
        if (end > cut) break;
        version = i + 2;
        // The client has not asked for bookmarks.
        if (version !== 4) expected += text;
      }
      if (heard !== expected) t.fail(`cut at ${cut} in chunks of ${size}: ${heard.length} bytes heard`);
      const resumed = await resumesAt(continuation);
      if (resumed !== String(version)) t.fail(`cut at ${cut} in chunks of ${size}: resumed at ${resumed}`);
    }
  }
});

t.test('a listing is looked at event by event, and what follows it goes in runs', async (t) => {
  const continuation = watch('/api/v1/pods?watch=1');
  const listing = event('ADDED', 9) + event('ADDED', 5);
  t.equal(said(continuation.push(Buffer.from(listing))), listing);
  t.equal(await resumesAt(continuation), 'end', 'there may be more of it');
  const changes = event('MODIFIED', 10) + event('ADDED', 11) + event('ADDED', 12);
  t.equal(said(continuation.push(Buffer.from(changes))), changes);
  t.equal(await resumesAt(continuation), '12');
  t.equal(continuation.push(Buffer.from(changes)).length, 1, 'one piece');
});

t.test('an ERROR ends what can be resumed, also in the middle of changes', async (t) => {
  const continuation = watch();
  continuation.push(Buffer.from(event('MODIFIED', 3)));
  const last = event('MODIFIED', 4) + event('ERROR', 0);
  t.equal(said(continuation.push(Buffer.from(last))), last);
  t.equal(await resumesAt(continuation), 'end');
});

t.test('what turns out to be a list passes as it came, also what came before that was known', async (t) => {
  const list = Buffer.from('{"kind":"PodList",\n"items":[]}');
  for (const size of [1, 5, list.length]) {
    const continuation = watch();
    let heard = '';
    for (let at = 0; at < list.length; at += size)
      heard += lent(list.subarray(at, at + size), (chunk) => continuation.push(chunk)).toString();
    t.equal(heard, list.toString());
  }
});

t.test('what stops to be a watch in its middle is not passed on as one', async (t) => {
  const continuation = watch();
  continuation.push(Buffer.from(event('MODIFIED', 3)));
  t.throws(() => continuation.push(Buffer.from('<html>\n')), SyntaxError);
});
