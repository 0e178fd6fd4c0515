import { describeError } from '../../../base/errors.js';
import { formatDuration } from '../../../daemon/duration.js';
import { failOf, parted } from '../advice.js';
import { type Check, combined, type Finding, fail, ok, warn } from '../check.js';
import { type Context, TOKEN_MS } from '../context.js';
import { troubleFor } from '../reach-trouble.js';

/** Does each identity get a token, through every hop of its chain, and does Google take it? */
export const identity: Check = {
  id: 'identity',
  title: 'identity',
  needs: ['endpoints', 'environment'],
  async run(context) {
    const { settings } = await context.inForce();
    const pinned = settings.memberships.map(({ identity: name = 'default' }) => name);
    const names = [...new Set(['default', ...pinned])];
    const tokens = await Promise.all(names.map((name) => token(context, name)));
    const worst = combined(tokens);
    if (worst?.status === 'fail') return worst;
    const refused = await refusals(context);
    return combined([...tokens, ...refused, ...(await ofDaemon(context))]) ?? ok('none is used');
  },
};

async function token(context: Context, name: string): Promise<Finding> {
  const { clock } = context.io;
  try {
    const source = (await context.google()).identity(name);
    const { expiresAt } = await context.token(name);
    const left = expiresAt === undefined ? '' : `, token good for ${formatDuration(expiresAt - clock.now())}`;
    return ok(`${name} is ${source.description}, from ${source.origin}${left}`);
  } catch (error) {
    const next = await loginOf(context, name);
    const late = error instanceof Error && error.name === 'TimeoutError';
    const failed = late
      ? fail(`its source did not answer within ${TOKEN_MS / 1000} s`, next, { code: 'token-unavailable' })
      : failOf(error, next);
    return { ...failed, message: `${name}: ${failed.message}` };
  }
}

/** How a person gets new tokens for it; undefined for an identity that cannot be made. */
async function loginOf(context: Context, name: string): Promise<string | undefined> {
  try {
    return parted((await context.google()).identity(name).renewal).next;
  } catch {
    return undefined;
  }
}

/** Google says of a token only when it is used whether it is good. */
async function refusals(context: Context): Promise<Finding[]> {
  const [project] = await context.projects();
  const asked = project === undefined ? undefined : await context.permissions(project).catch((error: unknown) => error);
  if (asked instanceof Error && /HTTP 401\b/.test(asked.message)) {
    const message = `default: Google does not accept its token: it has expired or was revoked (${describeError(asked)})`;
    return [fail(message, await loginOf(context, 'default'), { code: 'google-401' })];
  }
  const reaches = await context.reaches();
  for (const { name, alias, identity: of } of await context.memberships()) {
    const found = troubleFor('identity', reaches.get(name));
    if (found !== undefined) return [{ ...found, message: `${of} (${alias}): ${found.message}` }];
  }
  return [];
}

/** The daemon's own tries, which may have failed before somebody logged in. */
async function ofDaemon(context: Context): Promise<Finding[]> {
  const failed = (await context.memberships()).find(({ tokenFailure }) => tokenFailure !== undefined);
  if (failed?.tokenFailure === undefined) return [];
  const { at, message } = failed.tokenFailure;
  const ago = formatDuration(context.io.clock.now() - at);
  return [
    warn(`${failed.identity}: the daemon's last try failed ${ago} ago: ${message}`, 'connect-gateway-proxy reload'),
  ];
}
