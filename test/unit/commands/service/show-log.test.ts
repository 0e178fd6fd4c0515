import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { showLog } from '../../../../src/commands/service/show-log.js';
import { commandIo } from '../../../support/command-io.js';

const READY = '{"level":"info","time":"2026-11-26T02:09:32.743Z","memberships":3,"msg":"ready"}';
const LATE = '{"level":"warn","time":"2026-11-27T00:00:00.000Z","member';

t.test('a person reads lines, a program reads JSON, and a crash is shown as it stands', async (t) => {
  const file = join(t.testdir({}), 'service.log');
  writeFileSync(file, `{"msg":"long ago"}\n${READY}\nError: a crash\n${LATE}\n`);
  for (const [outIsTty, ready] of [
    [true, '2026-11-26 02:09:32.743 INFO  ready memberships=3'],
    [false, READY],
  ] as const) {
    const { io, written } = commandIo({ folder: '/', stateDir: '/', changes: { outIsTty } });
    await showLog(file, { follow: false, lines: 3, io });
    t.equal(written.out, `${ready}\nError: a crash\n${LATE}\n`);
  }
});

t.test('what is logged meanwhile follows, also from a new file', async (t) => {
  const file = join(t.testdir({}), 'service.log');
  writeFileSync(file, `${READY}\n${READY}\n`);
  let end = (): void => {};
  const steps = [() => appendFileSync(file, 'more\n'), () => writeFileSync(file, 'anew\n'), () => end()];
  const { io, written } = commandIo({
    folder: '/',
    stateDir: '/',
    changes: {
      pause: async () => steps.shift()?.(),
      onSignal: (listener) => {
        end = () => listener('SIGINT');
      },
    },
  });
  await showLog(file, { follow: true, lines: 0, io });
  t.equal(written.out, 'more\nanew\n');
  await t.rejects(showLog(`${file}.none`, { follow: false, lines: 1, io }), { code: 'log-missing' });
});
