import { CodedError, describeError } from '../../base/errors.js';
import { type Finding, fail } from './check.js';

/** A message of ours, parted into the cause and what to type. */
export function parted(message: string): { message: string; next?: string } {
  const text = message.replace(/^connect-gateway-proxy: /, '').replaceAll(/\s*\n\s*/g, ' ');
  // As gateway/failure.ts writes verdicts.
  const verdict = /^(.*)\. To be fixed by (.*?): (.*)$/.exec(text);
  if (verdict !== null) {
    const [, what = '', who = '', fix = ''] = verdict;
    const where = /^ in a context [^,]+, not through the gateway(?=, )/.exec(` ${fix}`)?.[0] ?? '';
    const told = who === 'you' ? what : `${what}; to be fixed by ${who}${where}`;
    return { message: told, next: /(?:with|again|run|at): (.*)$/.exec(fix)?.[1] ?? fix };
  }
  // As credentials write what a person must do.
  const run = /^(.*?);?(?: or)? run: (.*)$/.exec(text);
  return run === null ? { message: text } : { message: run[1] ?? '', next: run[2] ?? '' };
}

/** A failure in the words of the error; `next` where they name no command. */
export function failOf(error: unknown, next?: string): Finding {
  if (!(error instanceof CodedError)) return fail(`it could not be found out: ${describeError(error)}`, next);
  const told = parted(error.message);
  return fail(told.message, told.next ?? next, { code: error.code });
}
