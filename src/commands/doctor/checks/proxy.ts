import { withoutPassword } from '../../../daemon/environment.js';
import type { EndpointProbe } from '../../../daemon/google-side.js';
import { type Check, combined, type Finding, fail, ok, warn } from '../check.js';
import type { Environment } from '../in-force.js';

/** Are the proxy variables sound, does the proxy let through, and do local tools stay local? */
export const proxy: Check = {
  id: 'proxy',
  title: 'proxy variables',
  needs: ['state'],
  async run(context) {
    const { env } = await context.inForce();
    const probes = await context.probes();
    const [first] = probes.flatMap((probe) => inTheWay(probe, env));
    if (first !== undefined) return first;
    const warnings = [...spellings(env), ...loopback(context.io.env), ...unread(env)];
    const used = [...new Set(probes.flatMap(({ proxy: at = [] }) => at))];
    return combined(warnings) ?? ok(used.length === 0 ? 'none is used' : `by way of ${used.join(', ')}`);
  },
};

function inTheWay({ failure, host, proxy: at }: EndpointProbe, env: Environment): Finding[] {
  const name = nameOf(env);
  if (failure?.stage === 'proxy-settings') {
    return [fail(failure.message, `export ${name}=http://HOST:PORT`, { code: failure.code })];
  }
  if (failure?.stage !== 'proxy') return [];
  const message = `the proxy ${at} (${name}) does not lead to ${host}: ${failure.message}`;
  const next = failure.code === 'proxy-refused' ? `curl -v -x http://${at} https://${host}/` : `unset ${name}`;
  return [fail(message, next, { code: failure.code })];
}

function nameOf(env: Environment): string {
  return ['https_proxy', 'HTTPS_PROXY', 'http_proxy'].find((name) => env[name]) ?? 'HTTP_PROXY';
}

function spellings(env: Environment): Finding[] {
  return ['HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY'].flatMap((upper) => {
    const lower = upper.toLowerCase();
    const [a, b] = [env[upper], env[lower]];
    if (!a || !b || a === b) return [];
    return [
      warn(
        `${upper} is ${withoutPassword(a)} and ${lower} is ${withoutPassword(b)}: programs differ in which they read; the daemon reads ${lower}`,
        `unset ${upper}`,
        { code: 'proxy-twice' },
      ),
    ];
  });
}

/** kubectl and all of Go leave loopback alone; curl, Python and others ask the proxy unless they are told. */
function loopback(env: Environment): Finding[] {
  const proxied = ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'].some((name) => env[name]);
  const exempt = `${env['no_proxy'] ?? ''},${env['NO_PROXY'] ?? ''}`.split(/[\s,]+/);
  if (!proxied || exempt.some((entry) => entry === '*' || /^127\.0\.0\.(?:1|0\/8)$/.test(entry))) return [];
  return [
    warn(
      "this shell's proxy variables do not exempt 127.0.0.1: kubectl does not mind, but curl, Python and others would ask the proxy for the daemon",
      `export NO_PROXY=${[...exempt.filter((entry) => entry !== ''), '127.0.0.1', 'localhost'].join(',')}`,
      { code: 'proxy-loopback' },
    ),
  ];
}

function unread(env: Environment): Finding[] {
  const all = env['all_proxy'] || env['ALL_PROXY'];
  if (!all || env['https_proxy'] || env['HTTPS_PROXY']) return [];
  return [
    warn('ALL_PROXY is set, which neither the daemon nor kubectl reads', `export HTTPS_PROXY=${withoutPassword(all)}`, {
      code: 'proxy-unread',
    }),
  ];
}
