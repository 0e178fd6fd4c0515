import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PROXY_VARIABLES } from '../../daemon/environment.js';
import { credentialsPath } from '../../daemon/google-side.js';
import { readIfThere } from '../service/files.js';
import type { Context } from './context.js';
import { kubeconfigFiles } from './kubeconfigs.js';

/** Fields of credentials files that say who somebody is, not how to prove it. */
const PUBLIC_FIELDS =
  /^(?:type|account|client_email|client_id|project_id|quota_project_id|universe_domain|.*_ur[il]|.*url)$/;

/** Every secret that is at hand on this machine and has to do with the daemon: none of them may leave it. */
export async function knownSecrets(context: Context): Promise<string[]> {
  const secrets: string[] = [];
  const state = context.state();
  const { stateDir } = context.own();
  for (const name of names(stateDir)) {
    const text = /^(?:secret|hub-token|.*\.key)/.test(name) ? readIfThere(join(stateDir, name)) : undefined;
    if (text !== undefined) secrets.push(text, ...text.split('\n'));
  }
  if (state !== undefined) secrets.push(state.tokens.hub);
  for (const { name } of await context.everyMembership().catch(() => [])) {
    if (state !== undefined) secrets.push(state.tokens.ofMembership(name), state.tokens.pathSecretOf(name));
  }
  const { settings, env } = await context.inForce();
  for (const [name, identity] of Object.entries(settings.identities)) {
    if (identity.tokenFile !== undefined) secrets.push(readIfThere(identity.tokenFile) ?? '');
    secrets.push(...credentials(credentialsPath(identity, env)));
    // Only where one is at hand: nobody is asked for a token in order to hide it.
    const token = await context.heldToken(name);
    if (token !== undefined) secrets.push(token);
  }
  for (const name of PROXY_VARIABLES) {
    for (const value of [env[name], context.io.env[name]]) {
      const password = /\/\/[^/@]*:([^/@]+)@/.exec(value ?? '')?.[1];
      if (password !== undefined) secrets.push(password, decodeURIComponent(password));
    }
  }
  for (const file of [...kubeconfigFiles(context.io.env), settings.kubeconfigFile]) {
    const text = readIfThere(file) ?? '';
    const found = text.matchAll(
      /^\s*-?\s*"?(?:token|password|client-key-data|id-token|refresh-token|access-token)"?\s*:\s*"?([^"\s]+)/gm,
    );
    for (const [, value = ''] of found) secrets.push(value);
  }
  return secrets;
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function credentials(path: string | undefined): string[] {
  try {
    const json = JSON.parse(readIfThere(path ?? '') ?? '{}') as Record<string, unknown>;
    const hidden = Object.entries(json).filter(([name]) => !PUBLIC_FIELDS.test(name));
    return hidden.flatMap(([, value]) => (typeof value === 'string' ? [value, ...value.split('\n')] : []));
  } catch {
    return [];
  }
}
