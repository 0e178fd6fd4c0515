import { describeError } from '../../../base/errors.js';
import type { ContainerSpec, PodSpec } from '../../pods/pod-runtime.js';
import type { Dict, KubeObject } from '../json.js';
import { at, dict, dicts, integer, strings, text, timestamp } from '../json.js';
import { isSidecar } from '../pod-cells.js';
import { labelSelectorMatcher } from '../selectors.js';
import { type ControllerContext, recordEvent, TYPES, takesPods, withCondition } from './context.js';
import { initDone, podStatus } from './pod-status.js';

const KUBELET = { manager: 'kubelet', subresource: 'status' } as const;
/** In events, and in managedFields. */
const SCHEDULER = 'default-scheduler';
const SCHEDULER_MANAGER = 'kube-scheduler';
/** Pods live in 10.244.0.0/16, whose first two addresses and last one are no pod's. */
const FIRST_ADDRESS = 2;
const ADDRESSES = 0xffff - FIRST_ADDRESS;

/** Scheduler and kubelet in one: gives pods a node, runs them as processes, and tells how they fare. */
export class PodLifecycle {
  readonly #context: ControllerContext;
  /** By uid: where the pod is found in the store. */
  readonly #started = new Map<string, { namespace: string; name: string }>();
  /** By uid: the grace that the runtime was given last. */
  readonly #stopping = new Map<string, number>();
  /** By uid, for as long as the pod exists. */
  readonly #addresses = new Map<string, string>();
  #placed = 0;
  #addressed = 0;

  constructor(context: ControllerContext) {
    this.#context = context;
  }

  sync(pod: KubeObject): void {
    const { uid = '', namespace = '', name, deletionTimestamp } = pod.metadata;
    if (deletionTimestamp !== undefined) {
      this.#stop(pod);
    } else if (pod.spec?.['nodeName'] === undefined) {
      this.#schedule(pod);
    } else if (!this.#started.has(uid)) {
      this.#started.set(uid, { namespace, name });
      this.#start(pod);
    } else {
      this.#startEphemeral(pod);
    }
  }

  /** Removed without waiting, or after it: its processes must not outlive it. */
  gone(pod: KubeObject): void {
    const { uid = '' } = pod.metadata;
    this.#started.delete(uid);
    this.#stopping.delete(uid);
    this.#addresses.delete(uid);
    const { runtime, log } = this.#context;
    runtime.stop(uid, { graceMs: 0 }).catch((error: unknown) => {
      log.warn({ pod: pod.metadata.name }, `stopping a pod that is gone: ${describeError(error)}`);
    });
  }

  syncStatus(uid: string): void {
    const { store, registry, runtime, clock } = this.#context;
    const where = this.#started.get(uid);
    const pod = where === undefined ? undefined : store.get(TYPES.pods.id, where.namespace, where.name);
    if (pod === undefined || pod.metadata.uid !== uid) return;
    if (!this.#stopping.has(uid)) this.#startNext(pod);
    const statuses = runtime.statuses(uid);
    registry.change(TYPES.pods, pod, KUBELET, (draft) => {
      draft.status = podStatus(draft, statuses, clock.now());
    });
  }

  /** Those that found no node try again when the nodes have changed. */
  syncUnplaced(): void {
    for (const pod of this.#context.store.list(TYPES.pods.id)) {
      if (pod.spec?.['nodeName'] === undefined) this.sync(pod);
    }
  }

  #schedule(pod: KubeObject): void {
    const { store, registry } = this.#context;
    const fits = labelSelectorMatcher({ matchLabels: dict(pod.spec?.['nodeSelector']) });
    const all = store.list(TYPES.nodes.id);
    const nodes = all.filter((node) => takesPods(node) && fits(node));
    const node = nodes[this.#placed % Math.max(1, nodes.length)];
    if (node === undefined) {
      this.#tellUnplaced(pod, all.length);
      return;
    }
    this.#placed++;
    const nodeName = node.metadata.name;
    registry.change(TYPES.pods, pod, { manager: SCHEDULER_MANAGER, fieldValidation: 'Ignore' }, (draft) => {
      draft.spec = { ...draft.spec, nodeName };
    });
    const { name, namespace } = pod.metadata;
    const message = `Successfully assigned ${namespace}/${name} to ${nodeName}`;
    recordEvent(this.#context, pod, { reason: 'Scheduled', message, component: SCHEDULER });
  }

  #tellUnplaced(pod: KubeObject, nodes: number): void {
    const { registry, clock } = this.#context;
    const message = `0/${nodes} nodes are available: none is ready, schedulable and matches the pod's node selector.`;
    const unplaced = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message } as const;
    const written = registry.change(TYPES.pods, pod, { manager: SCHEDULER_MANAGER, subresource: 'status' }, (draft) => {
      const conditions = withCondition(draft.status?.['conditions'], unplaced, clock.now());
      draft.status = { ...draft.status, conditions };
    });
    if (written === undefined || written.metadata.resourceVersion === pod.metadata.resourceVersion) return;
    const why = { reason: 'FailedScheduling', message, component: SCHEDULER, type: 'Warning' } as const;
    recordEvent(this.#context, pod, why);
  }

  #addressOf(uid: string): string {
    let address = this.#addresses.get(uid);
    const taken = new Set(this.#addresses.values());
    while (address === undefined) {
      const number = FIRST_ADDRESS + (this.#addressed++ % ADDRESSES);
      const next = `10.244.${number >> 8}.${number & 0xff}`;
      if (!taken.has(next) || taken.size >= ADDRESSES) address = next;
    }
    this.#addresses.set(uid, address);
    return address;
  }

  /** Nothing when the node has no address, or is none of this cluster's. */
  #hostAddresses(pod: KubeObject): Dict {
    const node = this.#context.store.get(TYPES.nodes.id, '', text(pod.spec?.['nodeName']));
    const internal = dicts(node?.status?.['addresses']).find(({ type }) => type === 'InternalIP');
    const hostIP = text(internal?.['address']);
    return hostIP === '' ? {} : { hostIP, hostIPs: [{ ip: hostIP }] };
  }

  #start(pod: KubeObject): void {
    const { uid = '' } = pod.metadata;
    const { registry, clock } = this.#context;
    const podIP = this.#addressOf(uid);
    registry.change(TYPES.pods, pod, KUBELET, (draft) => {
      draft.status = {
        ...podStatus(draft, [], clock.now()),
        startTime: timestamp(clock.now()),
        ...{ ...this.#hostAddresses(pod), podIP, podIPs: [{ ip: podIP }] },
      };
    });
    this.#startNext(pod);
    this.syncStatus(uid);
  }

  /** One init container after the other, each when those before have done their work; then the others, all at once. */
  #startNext(pod: KubeObject): void {
    const { uid = '' } = pod.metadata;
    const statuses = this.#context.runtime.statuses(uid);
    const known = new Set(statuses.map((status) => status.name));
    const containers = dicts(at(pod, 'spec.containers'));
    if (containers.some((container) => known.has(text(container['name'])))) return;
    const policy = text(at(pod, 'spec.restartPolicy'));
    for (const container of dicts(at(pod, 'spec.initContainers'))) {
      if (known.has(text(container['name']))) {
        if (initDone(container, statuses)) continue;
        return;
      }
      const onFailure = policy === 'Never' ? 'Never' : 'OnFailure';
      this.#run(pod, [container], 'initContainers', isSidecar(container) ? 'Always' : onFailure);
      // A sidecar runs as soon as it is started.
      if (!isSidecar(container)) return;
    }
    this.#run(pod, containers, 'containers', policy === 'Never' || policy === 'OnFailure' ? policy : 'Always');
  }

  #run(pod: KubeObject, containers: readonly Dict[], list: string, restartPolicy: PodSpec['restartPolicy']): void {
    const { uid = '', namespace = '', name } = pod.metadata;
    this.#context.runtime.start({ uid, namespace, name, restartPolicy, containers: containers.map(containerSpec) });
    for (const container of containers) this.#tellStarted(pod, container, list);
  }

  /** Containers that were added for debugging; they are never started again. */
  #startEphemeral(pod: KubeObject): void {
    const { uid = '' } = pod.metadata;
    const known = new Set(this.#context.runtime.statuses(uid).map((status) => status.name));
    const added = dicts(at(pod, 'spec.ephemeralContainers')).filter((one) => !known.has(text(one['name'])));
    // One without any is over, or not begun.
    if (added.length === 0 || known.size === 0) return;
    this.#run(pod, added, 'ephemeralContainers', 'Never');
    this.syncStatus(uid);
  }

  #tellStarted(pod: KubeObject, container: Dict, list: string): void {
    const name = text(container['name']);
    for (const [reason, message] of [
      ['Pulled', `Container image "${text(container['image'])}" already present on machine`],
      ['Created', `Created container: ${name}`],
      ['Started', `Started container ${name}`],
    ] as const) {
      recordEvent(this.#context, pod, { component: 'kubelet', fieldPath: `spec.${list}{${name}}`, reason, message });
    }
  }

  #stop(pod: KubeObject): void {
    const { uid = '', deletionGracePeriodSeconds = 0 } = pod.metadata;
    const given = this.#stopping.get(uid);
    // A second deletion may only shorten the time.
    if (given !== undefined && deletionGracePeriodSeconds >= given) return;
    this.#stopping.set(uid, deletionGracePeriodSeconds);
    const { runtime, registry, log } = this.#context;
    for (const { name } of given === undefined ? dicts(at(pod, 'spec.containers')) : []) {
      const message = `Stopping container ${text(name)}`;
      recordEvent(this.#context, pod, {
        reason: 'Killing',
        message,
        component: 'kubelet',
        fieldPath: `spec.containers{${text(name)}}`,
      });
    }
    runtime
      .stop(uid, { graceMs: deletionGracePeriodSeconds * 1000 })
      .then(() => {
        if (!this.#stopping.has(uid)) return;
        // Without it, the end of the grace would be taken for a shorter one where a finalizer keeps the pod.
        this.#stopping.set(uid, 0);
        registry.endGrace(TYPES.pods, pod);
      })
      .catch((error: unknown) => {
        log.warn({ pod: pod.metadata.name }, `stopping a pod: ${describeError(error)}`);
      });
  }
}

function containerSpec(container: Dict): ContainerSpec {
  const { env, ports, stdin, stdinOnce, tty, workingDir } = container;
  return {
    name: text(container['name']),
    image: text(container['image']),
    ...(container['command'] === undefined ? {} : { command: strings(container['command']) }),
    ...(container['args'] === undefined ? {} : { args: strings(container['args']) }),
    env: dicts(env).map(({ name, value }) => ({ name: text(name), value: text(value) })),
    ...(typeof workingDir === 'string' && workingDir !== '' ? { workingDir } : {}),
    stdin: stdin === true,
    stdinOnce: stdinOnce === true,
    tty: tty === true,
    ports: dicts(ports).map(({ containerPort, name }) => ({
      containerPort: integer(containerPort),
      ...(typeof name === 'string' ? { name } : {}),
    })),
  };
}
