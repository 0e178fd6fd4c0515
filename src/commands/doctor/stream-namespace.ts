import type { Context } from './context.js';
import type { Subject } from './facts.js';

/** Where kubectl would look for a pod of this membership when nothing is said. */
export async function namespaceOf(context: Context, { alias, url }: Subject): Promise<string> {
  if (context.namespace !== undefined) return context.namespace;
  const { persons, own } = await context.kubeconfigs();
  const contexts = [...persons.contexts, ...own.contexts];
  const leading = contexts.find(({ server, name }) => (url === undefined ? name === alias : server === url));
  return leading?.namespace ?? 'default';
}
