import type { KubeObject } from '../json.js';
import { resourceById } from '../resource-table.js';
import { CONTROLLER_MANAGER, type ControllerContext, TYPES } from './context.js';

const WRITE = { manager: CONTROLLER_MANAGER, fieldValidation: 'Ignore' } as const;

/** What every namespace has from its beginning. */
export function furnishNamespace(context: ControllerContext, namespace: KubeObject): void {
  const { registry, store } = context;
  const { name } = namespace.metadata;
  for (const [id, object] of Object.entries(FURNITURE)) {
    if (store.get(id, name, object.metadata.name) !== undefined) continue;
    registry.create(resourceById(id), name, structuredClone(object), WRITE);
  }
}

const FURNITURE = {
  serviceaccounts: { metadata: { name: 'default' } },
  configmaps: {
    metadata: {
      name: 'kube-root-ca.crt',
      annotations: { 'kubernetes.io/description': 'The built-in cluster has no certificate authority of its own.' },
    },
    data: { 'ca.crt': '' },
  },
} as const;

/** Empties a namespace that is being deleted, and lets it go when it is empty. */
export function finishNamespace(context: ControllerContext, namespace: KubeObject): void {
  const { registry, store } = context;
  const { name } = namespace.metadata;
  let left = 0;
  for (const { resource, object } of [...store.all()]) {
    if (object.metadata.namespace !== name) continue;
    const type = resourceById(resource);
    // Events about the end would keep it from ending.
    const gone =
      object.metadata.deletionTimestamp === undefined
        ? registry.delete(type, object, { propagationPolicy: 'Background' }).gone
        : false;
    if (!gone) left++;
  }
  if (left > 0) return;
  const current = store.get(TYPES.namespaces.id, '', name);
  if (current === undefined) return;
  registry.change(TYPES.namespaces, current, { ...WRITE, subresource: 'finalize' }, (draft) => {
    draft.spec = { ...draft.spec, finalizers: [] };
  });
}
