import t, { type Test } from 'tap';
import { resourceVersionOfJsonEvent } from '../../../src/kubernetes/watch-event-json.js';
import { readConversation } from '../../conversations/capture.js';

/** The same by way of the whole object. */
function parsed(line: Buffer): { type: string; resourceVersion: string | undefined } {
  const { type, object } = JSON.parse(line.toString()) as {
    type: string;
    object: { metadata?: { resourceVersion?: string } | null };
  };
  return { type, resourceVersion: object.metadata?.resourceVersion };
}

function versionIfAny(line: Buffer): string | undefined {
  try {
    return resourceVersionOfJsonEvent(line).resourceVersion;
  } catch {
    return undefined;
  }
}

function tellsTheSame(t: Test, line: Buffer, story: string): void {
  t.same(resourceVersionOfJsonEvent(line), parsed(line), story);
}

for (const name of ['watch-pods-json', 'watch-pods-table', 'watch-pods-partialmeta', 'watch-initial-events']) {
  t.test(`${name} of a real cluster: each event's facts, as its object has them`, async (t) => {
    const lines = readConversation(`real-${name}`).body.toString('latin1').split('\n').filter(Boolean);
    t.ok(lines.length > 1);
    for (const line of lines) tellsTheSame(t, Buffer.from(line, 'latin1'), line.slice(0, 40));
  });
}

const NAMED = { name: 'box', generateName: 'b', namespace: 'default', uid: '5d2a' };
const TYPED = { kind: 'Pod', apiVersion: 'v1' };

t.test(
  'an event in the order of the fields in Go, and what strays from it: the facts are those of its object',
  async (t) => {
    const events: Record<string, unknown> = {
      'as Go writes it': { ...TYPED, metadata: { ...NAMED, resourceVersion: '12', labels: { a: 'b' } }, spec: {} },
      'with no name': { ...TYPED, metadata: { resourceVersion: '12' } },
      'a version that is no number': { ...TYPED, metadata: { ...NAMED, resourceVersion: 'a-b_c=/' } },
      'an empty version': { ...TYPED, metadata: { ...NAMED, resourceVersion: '' } },
      'a version with a quote and a backslash': { ...TYPED, metadata: { ...NAMED, resourceVersion: '1"2\\' } },
      'a version beyond ASCII': { ...TYPED, metadata: { ...NAMED, resourceVersion: '\u00e9\u20ac' } },
      'a name beyond ASCII': { ...TYPED, metadata: { name: '\u00e9\u20ac', resourceVersion: '12' } },
      'a name that looks like the end of metadata': { ...TYPED, metadata: { name: '"},"', resourceVersion: '12' } },
      'no version': { ...TYPED, metadata: NAMED },
      'no metadata': TYPED,
      'metadata of null': { ...TYPED, metadata: null },
      'the keys of a custom resource, in the order of the alphabet': {
        apiVersion: 'example.com/v1',
        kind: 'Thing',
        metadata: { annotations: { resourceVersion: '7' }, name: 'box', resourceVersion: '12', uid: '5d2a' },
      },
      'a version behind more than is read at first': {
        ...TYPED,
        metadata: { annotations: { long: 'x'.repeat(5000) }, resourceVersion: '12' },
      },
      'a name that is longer than what is read at first': {
        ...TYPED,
        metadata: { name: 'x'.repeat(5000), resourceVersion: '12' },
      },
      'versions of others before its own': {
        ...TYPED,
        metadata: { ownerReferences: [{ resourceVersion: '7' }], resourceVersion: '12' },
      },
      'metadata of another object before its own': { spec: { metadata: { resourceVersion: '7' } }, metadata: NAMED },
    };
    for (const [story, object] of Object.entries(events)) {
      const text = JSON.stringify({ type: 'MODIFIED', object });
      tellsTheSame(t, Buffer.from(text), story);
      tellsTheSame(t, Buffer.from(text.replaceAll('":', '" : ')), `${story}, spaced`);
      tellsTheSame(t, Buffer.from(JSON.stringify({ object, type: 'MODIFIED' })), `${story}, the type behind it`);
    }
  },
);

t.test('a line that breaks off before the end of what is wanted: no version is made of it', async (t) => {
  const line = JSON.stringify({ type: 'ADDED', object: { ...TYPED, metadata: { ...NAMED, resourceVersion: '1234' } } });
  const wanted = line.indexOf('1234') + '1234"'.length;
  for (let length = 0; length < wanted; length++) {
    t.equal(versionIfAny(Buffer.from(line.slice(0, length))), undefined, `${length} bytes`);
  }
  t.equal(resourceVersionOfJsonEvent(Buffer.from(line.slice(0, wanted))).resourceVersion, '1234');
});
