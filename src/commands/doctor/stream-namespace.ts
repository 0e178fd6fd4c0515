import type { Context } from './context.js';
import type { Subject } from './facts.js';
import { kubeconfigFiles, readKubeconfigs } from './kubeconfigs.js';

/** Where kubectl would look for a pod of this membership when nothing is said. */
export async function namespaceOf(context: Context, { alias, url }: Subject): Promise<string> {
  if (context.namespace !== undefined) return context.namespace;
  const { settings } = await context.inForce();
  const seen = readKubeconfigs([...kubeconfigFiles(context.io.env), settings.kubeconfigFile]);
  const leading = seen.contexts.find(({ server, name }) => (url === undefined ? name === alias : server === url));
  return leading?.namespace ?? 'default';
}
