import t, { type Test } from 'tap';
import { type Wake, Wakes } from '../../../src/base/wake.js';
import { WakeWatch } from '../../../src/daemon/wake-watch.js';
import { FakeClock } from '../../support/fake-clock.js';

interface Scene {
  readonly clock: FakeClock;
  readonly watch: WakeWatch;
  readonly told: Wake[];
  /** The process has computed for so long. */
  compute(ms: number): void;
}

function story(name: string, tell: (t: Test, scene: Scene) => void): void {
  t.test(name, async (t) => {
    const clock = new FakeClock();
    const wakes = new Wakes();
    const told: Wake[] = [];
    wakes.onWake((wake) => told.push(wake));
    let cpuMs = 0;
    const watch = new WakeWatch({ clock, wakes, cpuMs: () => cpuMs });
    watch.start();
    tell(t, {
      clock,
      watch,
      told,
      compute: (ms) => {
        cpuMs += ms;
      },
    });
    watch.stop();
    t.equal(clock.pendingTimers, 0);
  });
}

const lost = (code: string): Error => Object.assign(new Error(code), { code });

story('time that goes by as it should says nothing', (t, { clock, told }) => {
  clock.advance(60 * 60_000);
  t.strictSame(told, []);
});

story('a monotonic clock that stands still in sleep: the wall clock has jumped', (t, { clock, told }) => {
  clock.advance(60_000);
  clock.sleepMachine(8 * 60 * 60_000);
  clock.advance(5000);
  t.match(told, [{ reason: 'the wall clock has jumped by 28800 s', doubtfulBefore: clock.monotonic() }]);
  clock.advance(60_000);
  t.equal(told.length, 1, 'told once');
});

story('a monotonic clock that goes on in sleep: the timer is late, and nobody has computed', (t, { clock, told }) => {
  clock.advanceLate(3 * 60_000);
  t.match(told, [{ reason: 'the machine has slept for 175 s' }]);
});

story('a busy process is no sleep', (t, { clock, told, compute }) => {
  compute(170_000);
  clock.advanceLate(3 * 60_000);
  t.strictSame(told, []);
});

story('a clock that is corrected by seconds is no sleep', (t, { clock, told }) => {
  clock.sleepMachine(8000);
  clock.advance(5000);
  t.strictSame(told, []);
});

story('many lost connections at once: the network is another', (t, { clock, watch, told }) => {
  for (const code of ['ECONNRESET', 'ETIMEDOUT', 'ENETUNREACH']) {
    clock.advance(100);
    watch.trouble(lost(code));
  }
  watch.trouble(lost('ERR_TLS_CERT_ALTNAME_INVALID'));
  t.strictSame(told, [], 'what is not the network does not count');
  clock.advance(100);
  watch.trouble(lost('ENOTFOUND'));
  t.match(told, [{ reason: 'many connections were lost at once', doubtfulBefore: 100 }]);
  for (let n = 0; n < 10; n++) watch.trouble(lost('ECONNRESET'));
  t.equal(told.length, 1, 'one burst is told once');
  clock.advance(31_000);
  for (let n = 0; n < 4; n++) watch.trouble(lost('ECONNRESET'));
  t.equal(told.length, 2);
});

story('single accidents are none', (t, { clock, watch, told }) => {
  for (let n = 0; n < 20; n++) {
    clock.advance(1500);
    watch.trouble(lost('ECONNRESET'));
  }
  t.strictSame(told, []);
});
