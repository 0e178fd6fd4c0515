import { UsageError } from '../../../base/errors.js';
import type { Settings } from '../../../daemon/settings.js';
import { failOf } from '../advice.js';
import { type Check, type Finding, fail, ok } from '../check.js';
import type { Context } from '../context.js';
import { namesSomething } from '../in-force.js';

/** Can the settings be read, and do they name a fleet? */
export const configuration: Check = {
  id: 'configuration',
  title: 'configuration',
  needs: [],
  async run(context) {
    let own: Settings;
    try {
      own = context.own();
    } catch (error) {
      if (error instanceof UsageError) return unreadable(error.message);
      throw error;
    }
    // Where the state folder cannot be read, the next check says why.
    const inForce = await context.inForce().catch(() => undefined);
    const { settings, of } = inForce ?? { settings: own, of: 'this shell' };
    if (inForce !== undefined && !namesSomething(settings)) {
      const daemon = await context.daemon();
      if (daemon.kind === 'up') return ok(`of a daemon of version ${daemon.record.version}, which does not tell it`);
      return fail(
        `nothing to serve: no fleet host project is named in ${settings.configFile ?? `${context.io.paths.config}/config.yaml`} or anywhere else`,
        'connect-gateway-proxy run --projects PROJECT',
        { code: 'nothing-to-serve' },
      );
    }
    const unusable = inForce === undefined ? undefined : await caFileTrouble(context);
    if (unusable !== undefined) return unusable;
    const { projects, memberships, identities, configFile } = settings;
    const named = [
      ...(projects.length === 0 ? [] : [`projects ${projects.join(', ')}`]),
      ...(memberships.length === 0 ? [] : [`${memberships.length} pinned memberships`]),
      `identities ${Object.entries(identities)
        .map(([name, { source }]) => `${name} (${source})`)
        .join(', ')}`,
    ];
    return ok(`of ${of}${configFile === undefined ? '' : `, ${configFile}`}: ${named.join('; ')}`);
  },
};

async function caFileTrouble(context: Context): Promise<Finding | undefined> {
  try {
    await context.google();
    return undefined;
  } catch (error) {
    return failOf(error, `ls -l ${(await context.inForce()).settings.endpoints.caFile}`);
  }
}

function unreadable(message: string): Finding {
  const [first = message, ...others] = message.split('\n');
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
  const place = /^(.+?):(\d+): /.exec(first);
  const file = /cannot read the config file (.+): /.exec(first)?.[1];
  if (file !== undefined) return fail(first, `ls -l ${file}`, { code: 'usage' });
  const variable = /\bCGP_[A-Z_]+\b/.exec(first)?.[0];
  const edit = process.platform === 'win32' ? 'notepad' : '$' + '{EDITOR:-vi}';
  if (place !== null) return fail(first + more, `${edit} +${place[2]} ${place[1]}`, { code: 'usage' });
  if (variable !== undefined) return fail(first + more, `unset ${variable}`, { code: 'usage' });
  return fail(first + more, 'connect-gateway-proxy run --help', { code: 'usage' });
}
