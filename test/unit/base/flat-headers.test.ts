import t from 'tap';
import {
  HeaderNames,
  headerTokens,
  headerValue,
  headerValues,
  withoutHeaders,
} from '../../../src/base/flat-headers.js';

const HEADERS = ['Accept', '*/*', 'X-Tag', 'one', 'TE', 'trailers', 'x-tag', 'two', 'X-TAG', ''];

t.test('a name is the same in any case of its letters, and no other', async (t) => {
  const names = new HeaderNames(['te', 'x-tag']);
  for (const name of ['te', 'TE', 'Te', 'x-tag', 'X-Tag', 'X-TAG']) t.ok(names.has(name), name);
  for (const name of ['', 't', 'ta', 'te ', 'x-tagg', 'x_tag', 'accept', 'x'.repeat(1000)])
    t.notOk(names.has(name), name.slice(0, 20));
  t.notOk(new HeaderNames([]).has(''));
});

t.test('names and more: a new list where they say something new, the same where they do not', async (t) => {
  const names = new HeaderNames(['te', 'connection']);
  t.equal(names.and([]), names);
  t.equal(names.and(['te']), names);
  const more = names.and(['te', 'x-mine']);
  t.ok(more.has('X-Mine') && more.has('TE') && more.has('Connection'));
  t.notOk(names.has('X-Mine'), 'it is left as it was');
});

t.test('values come in their order, empty ones too', async (t) => {
  t.strictSame(headerValues(HEADERS, 'x-tag'), ['one', 'two', '']);
  t.equal(headerValue(HEADERS, 'x-tag'), 'one');
  t.equal(headerValue(HEADERS, 'x-none'), undefined);
  t.strictSame(headerValues([], 'x-tag'), []);
});

t.test('the members of a list are found over all its lines', async (t) => {
  const lines = ['Connection', ' keep-alive', 'connection', 'Upgrade ,\tX-Mine,, ', 'CONNECTION', ''];
  t.strictSame(headerTokens(lines, 'connection'), ['keep-alive', 'Upgrade', 'X-Mine']);
  t.strictSame(headerTokens(lines, 'upgrade'), []);
});

t.test('what is left out is left out wherever it stands; the rest keeps order, case and repeats', async (t) => {
  t.strictSame(withoutHeaders(HEADERS, new HeaderNames(['te'])), [
    ...['Accept', '*/*', 'X-Tag', 'one', 'x-tag', 'two', 'X-TAG', ''],
  ]);
  t.strictSame(withoutHeaders(HEADERS, new HeaderNames(['x-tag'])), ['Accept', '*/*', 'TE', 'trailers']);
  t.strictSame(withoutHeaders(HEADERS, new HeaderNames(['accept', 'te', 'x-tag'])), []);
  const same = withoutHeaders(HEADERS, new HeaderNames(['x-none']));
  t.strictSame(same, HEADERS);
  same.push('More', '1');
  t.equal(HEADERS.length, 10, 'the caller has a list of its own');
});
