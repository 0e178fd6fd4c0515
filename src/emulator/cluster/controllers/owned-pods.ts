import type { Dict, KubeObject } from '../json.js';
import { clone, dict } from '../json.js';
import type { ResourceType } from '../resource-table.js';
import { CONTROLLER_MANAGER, type ControllerContext, ownerReference, recordEvent, TYPES } from './context.js';

const WRITE = { manager: CONTROLLER_MANAGER, fieldValidation: 'Ignore' } as const;
/** As the sources of events are called. */
const COMPONENTS: Readonly<Record<string, string>> = {
  ReplicaSet: 'replicaset-controller',
  StatefulSet: 'statefulset-controller',
  DaemonSet: 'daemonset-controller',
  Job: 'job-controller',
};

/** Counts of nothing are left out of a status. */
export function positive(counts: Readonly<Record<string, number>>): Dict {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}

/** A pod by its owner's template, told of in an event of the owner. */
export function createPod(
  context: ControllerContext,
  type: ResourceType,
  owner: KubeObject,
  options: { name: string | { prefix: string }; labels?: Readonly<Record<string, string>>; spec?: Dict },
): KubeObject {
  const { name, labels = {}, spec = {} } = options;
  const template = clone(dict(owner.spec?.['template']));
  const metadata = dict(template['metadata']);
  const draft: Dict = {
    metadata: {
      ...metadata,
      ...(typeof name === 'string' ? { name } : { generateName: name.prefix }),
      labels: { ...dict(metadata['labels']), ...labels },
      ownerReferences: [ownerReference(type, owner)],
    },
    spec: { ...dict(template['spec']), ...spec },
  };
  const pod = context.registry.create(TYPES.pods, owner.metadata.namespace ?? '', draft, WRITE);
  const component = COMPONENTS[type.kind] ?? CONTROLLER_MANAGER;
  recordEvent(context, owner, { reason: 'SuccessfulCreate', message: `Created pod: ${pod.metadata.name}`, component });
  return pod;
}
