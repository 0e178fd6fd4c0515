import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { FAILURE_TABLE, UNTRANSLATED } from '../../../src/gateway/failure-table.js';

/** As the page writes what depends on the fleet. */
const PLACE = {
  membership: 'MEMBERSHIP',
  about: { id: 'MEMBERSHIP', location: 'LOCATION', project: 'PROJECT', kind: 'attached' },
  upgrade: 'spdy/3.1',
};

const page = readFileSync(join(process.cwd(), 'docs', 'troubleshooting.md'), 'utf8');
const sections = new Map(
  page
    .split(/^### `/m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf('`')), section]),
);

t.test('the page tells of every row, and of nothing else', async (t) => {
  const codes = [...FAILURE_TABLE, ...UNTRANSLATED].map(({ code }) => code);
  t.strictSame([...sections.keys()], codes);
  for (const [code, section] of sections) {
    t.match(section, /^- kubectl prints: .*`/m, `${code}: the symptom`);
    t.match(
      section,
      /^- (Cause|Passed on|Cannot happen through the daemon|Has another cause): /m,
      `${code}: the cause`,
    );
  }
});

t.test('status, person and command are those of the table', async (t) => {
  for (const row of FAILURE_TABLE) {
    const section = sections.get(row.code) ?? '';
    if (typeof row.status === 'number') t.match(section, `- Status: ${row.status} ${String(row.reason)}\n`, row.code);
    else t.match(section, "- Status: as Google's\n", row.code);
    t.ok(section.includes(row.what(PLACE)), `${row.code}: what happened`);
    t.ok(section.includes(`- Who: ${row.who}\n`), `${row.code}: who`);
    t.ok(section.includes(`- Do: ${row.fix(PLACE)}`), `${row.code}: the command`);
  }
  for (const { code, why, who, fix } of UNTRANSLATED) {
    const section = sections.get(code) ?? '';
    for (const part of [why, `- Who: ${who}\n`, `- Do: ${fix}`]) t.ok(section.includes(part), `${code}: ${part}`);
  }
});
