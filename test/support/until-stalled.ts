import { setImmediate } from 'node:timers/promises';

/**
 * All who could take anything are in this process: what nobody has taken in so many turns of its event loop, nobody will,
 * however busy the machine is.
 */
const SILENT_TURNS = 5000;

/** Resolves with the amount once it moves no more. */
export async function untilStalled(amount: () => number): Promise<number> {
  let before = amount();
  for (let silent = 0; silent < SILENT_TURNS; silent++) {
    await setImmediate();
    const now = amount();
    if (now !== before) silent = 0;
    before = now;
  }
  return before;
}
