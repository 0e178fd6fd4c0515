import { formatDuration } from '../../../daemon/duration.js';
import { type Check, fail, notChecked, ok, warn } from '../check.js';

/** HTTP tells whole seconds, and an answer takes its time. */
const NOTABLE_MS = 30_000;
/** Signed assertions and certificates that are fresh are refused beyond it. */
const TOO_MUCH_MS = 5 * 60_000;

const SET_CLOCK: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
  darwin: 'sudo sntp -sS time.apple.com',
  win32: 'w32tm /resync',
};

/** Does this machine's clock agree with Google's? A wrong one makes tokens and certificates look bad. */
export const wallClock: Check = {
  id: 'clock',
  title: 'clock',
  needs: ['state'],
  async run(context) {
    const skews = (await context.probes()).flatMap(({ clockAheadMs }) => clockAheadMs ?? []);
    // The most agreeable: one odd server must not condemn the clock.
    const [least] = skews.sort((a, b) => Math.abs(a) - Math.abs(b));
    if (least === undefined) return notChecked('no endpoint of Google tells the time; see endpoints');
    const size = Math.abs(least);
    const message = `this machine's clock is ${formatDuration(size)} ${least > 0 ? 'ahead of' : 'behind'} Google's`;
    const next = SET_CLOCK[process.platform] ?? 'sudo timedatectl set-ntp true';
    if (size > TOO_MUCH_MS) return fail(message, next, { code: 'clock-wrong' });
    if (size > NOTABLE_MS) return warn(message, next, { code: 'clock-wrong' });
    return ok("it agrees with Google's");
  },
};
