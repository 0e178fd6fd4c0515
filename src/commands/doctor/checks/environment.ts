import { existsSync } from 'node:fs';
import { delimiter } from 'node:path';
import { FILE_VARIABLES, tellEnvironment } from '../../../daemon/environment.js';
import { findGcloud, usesGcloud } from '../../../daemon/google-side.js';
import { type Check, combined, type Finding, fail, ok, warn } from '../check.js';
import type { Context } from '../context.js';
import { type InForce, serviceEnvironment } from '../in-force.js';

/** Does the service start what is installed now, and does it see the programs and files that a shell sees? */
export const environment: Check = {
  id: 'environment',
  title: 'environment',
  needs: ['state'],
  async run(context) {
    const inForce = await context.inForce();
    const found = [...service(context), ...gcloud(inForce), ...missingFiles(inForce), ...differences(context, inForce)];
    const folders = (inForce.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '').length;
    return combined(found) ?? ok(`of ${inForce.of}: ${folders} folders on PATH; nothing is missing`);
  },
};

function service(context: Context): Finding[] {
  const record = context.service();
  if (record === undefined) return [];
  const { program, environment: recorded } = record.definition.start;
  const next = 'connect-gateway-proxy service install';
  const gone = program.filter((path) => !existsSync(path));
  const folders = (recorded['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const empty = folders.filter((folder) => !existsSync(folder));
  return [
    ...(gone.length === 0
      ? []
      : [
          fail(`the service starts ${gone.join(' ')}, which is gone`, next, {
            code: 'service-program-gone',
            goesOn: true,
          }),
        ]),
    ...(record.version === context.io.version
      ? []
      : [warn(`the service was installed by version ${record.version}, this is ${context.io.version}`, next)]),
    ...(empty.length === 0 ? [] : [warn(`the service's PATH names folders that are gone: ${empty.join(', ')}`, next)]),
  ];
}

function gcloud({ settings, env, of }: InForce): Finding[] {
  const users = Object.entries(settings.identities).filter(([, identity]) => usesGcloud(identity, env));
  if (users.length === 0 || findGcloud(env) !== undefined) return [];
  const names = users.map(([name]) => name).join(', ');
  const message = `identity ${names} takes its tokens from gcloud, and there is none on the PATH of ${of}, or where it is usually installed`;
  return [fail(message, installed(of), { code: 'gcloud-missing' })];
}

function installed(of: InForce['of']): string {
  return of === 'this shell' ? 'curl https://sdk.cloud.google.com | bash' : 'connect-gateway-proxy service install';
}

function missingFiles({ env, of }: InForce): Finding[] {
  return FILE_VARIABLES.flatMap((name) => {
    const path = env[name];
    const isPath = path !== undefined && /[\\/]/.test(path);
    if (!isPath || existsSync(path)) return [];
    const message = `${name} of ${of} names ${path}, which is not there`;
    return [
      fail(message, of === 'this shell' ? `unset ${name}` : 'connect-gateway-proxy service install', {
        code: 'file-missing',
      }),
    ];
  });
}

/** What works in this shell may not work in the daemon, and the other way round. */
function differences(context: Context, inForce: InForce): Finding[] {
  const record = context.service();
  const theirs =
    inForce.of === 'this shell' && record !== undefined ? serviceEnvironment(record, context.io) : inForce.env;
  const [here, there] = [tellEnvironment(context.io.env), tellEnvironment(theirs)];
  const names = [...new Set([...Object.keys(here), ...Object.keys(there)])].filter(
    // A service has another PATH by design; what counts of it is looked at by itself.
    (name) => name !== 'PATH' && !name.startsWith('XDG_') && here[name] !== there[name],
  );
  if (names.length === 0) return [];
  const whose = inForce.of === 'this shell' ? 'the service' : inForce.of;
  const told = names.map((name) => `${name} is ${there[name] ?? 'not set'} there and ${here[name] ?? 'not set'} here`);
  const next =
    record === undefined
      ? 'connect-gateway-proxy stop && connect-gateway-proxy run'
      : 'connect-gateway-proxy service install';
  return [
    warn(`${whose} has another environment than this shell: ${told.join(', ')}`, next, { code: 'environment-differs' }),
  ];
}
