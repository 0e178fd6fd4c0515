import type { ContainerSpec, ContainerState, ContainerStatus } from '../../pods/pod-runtime.js';
import { qosClassOf } from '../defaults.js';
import type { Dict, KubeObject } from '../json.js';
import { at, dicts, integer, strings, text, timestamp } from '../json.js';
import { type ControllerContext, recordEvent, TYPES, withCondition } from './context.js';

const KUBELET = { manager: 'kubelet', subresource: 'status' } as const;
/** Pods live in 10.244.0.0/16, a /24 for each node. */
const FIRST_POD = 2;

/** Scheduler and kubelet in one: gives pods a node, runs them as processes, and tells how they fare. */
export class PodLifecycle {
  readonly #context: ControllerContext;
  /** By uid: where the pod is found in the store. */
  readonly #started = new Map<string, { namespace: string; name: string }>();
  readonly #stopping = new Set<string>();
  #placed = 0;

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
    }
  }

  /** Removed without waiting, or after it: its processes must not outlive it. */
  gone(pod: KubeObject): void {
    const { uid = '' } = pod.metadata;
    this.#started.delete(uid);
    this.#stopping.delete(uid);
    this.#context.runtime.stop(uid, { graceMs: 0 }).catch(() => {});
  }

  syncStatus(uid: string): void {
    const { store, registry, runtime, clock } = this.#context;
    const where = this.#started.get(uid);
    const pod = where === undefined ? undefined : store.get(TYPES.pods.id, where.namespace, where.name);
    if (pod === undefined || pod.metadata.uid !== uid) return;
    const statuses = runtime.statuses(uid);
    registry.change(TYPES.pods, pod, KUBELET, (draft) => {
      draft.status = podStatus(draft, statuses, clock.now());
    });
  }

  #schedule(pod: KubeObject): void {
    const { store, registry } = this.#context;
    const nodes = store.list('nodes').filter((node) => node.spec?.['unschedulable'] !== true);
    const node = nodes[this.#placed++ % Math.max(1, nodes.length)];
    if (node === undefined) return;
    const nodeName = node.metadata.name;
    registry.change(TYPES.pods, pod, { manager: 'kube-scheduler', fieldValidation: 'Ignore' }, (draft) => {
      draft.spec = { ...draft.spec, nodeName };
    });
    const { name, namespace } = pod.metadata;
    const message = `Successfully assigned ${namespace}/${name} to ${nodeName}`;
    recordEvent(this.#context, pod, { reason: 'Scheduled', message, component: 'default-scheduler' });
  }

  #start(pod: KubeObject): void {
    const { uid = '', namespace = '', name } = pod.metadata;
    const { registry, clock, runtime } = this.#context;
    const containers = dicts(at(pod, 'spec.containers'));
    const policy = text(at(pod, 'spec.restartPolicy'));
    const third = [...this.#started.keys()].indexOf(uid) + FIRST_POD;
    registry.change(TYPES.pods, pod, KUBELET, (draft) => {
      const podIP = `10.244.${(third >> 8) & 0xff}.${third & 0xff}`;
      draft.status = {
        ...podStatus(draft, [], clock.now()),
        startTime: timestamp(clock.now()),
        ...{ hostIP: '192.168.49.2', hostIPs: [{ ip: '192.168.49.2' }], podIP, podIPs: [{ ip: podIP }] },
      };
    });
    runtime.start({
      uid,
      namespace,
      name,
      restartPolicy: policy === 'Never' || policy === 'OnFailure' ? policy : 'Always',
      containers: containers.map(containerSpec),
    });
    for (const container of containers) {
      const about = { component: 'kubelet', fieldPath: `spec.containers{${text(container['name'])}}` };
      const image = text(container['image']);
      recordEvent(this.#context, pod, {
        ...about,
        reason: 'Pulled',
        message: `Container image "${image}" already present on machine`,
      });
      recordEvent(this.#context, pod, {
        ...about,
        reason: 'Created',
        message: `Created container: ${text(container['name'])}`,
      });
      recordEvent(this.#context, pod, {
        ...about,
        reason: 'Started',
        message: `Started container ${text(container['name'])}`,
      });
    }
    this.syncStatus(uid);
  }

  #stop(pod: KubeObject): void {
    const { uid = '', deletionGracePeriodSeconds = 0 } = pod.metadata;
    if (this.#stopping.has(uid)) return;
    this.#stopping.add(uid);
    const { runtime, registry, log } = this.#context;
    for (const { name } of dicts(at(pod, 'spec.containers'))) {
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
      .then(() => registry.endGrace(TYPES.pods, pod))
      .catch((error: unknown) => log.warn({ pod: pod.metadata.name }, `stopping a pod: ${String(error)}`));
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

function podStatus(pod: KubeObject, statuses: readonly ContainerStatus[], now: number): Dict {
  const specs = dicts(at(pod, 'spec.containers'));
  const ready = statuses.length === specs.length && statuses.every(({ state }) => state.kind === 'running');
  const phase = phaseOf(pod, statuses);
  const over = phase === 'Succeeded' || phase === 'Failed';
  const readiness = ready
    ? ({ status: 'True' } as const)
    : ({ status: 'False', reason: over ? 'PodCompleted' : 'ContainersNotReady' } as const);
  let conditions: unknown = pod.status?.['conditions'];
  for (const type of ['PodScheduled', 'Initialized', 'PodReadyToStartContainers']) {
    conditions = withCondition(conditions, { type, status: 'True' }, now);
  }
  for (const type of ['ContainersReady', 'Ready']) conditions = withCondition(conditions, { type, ...readiness }, now);
  return {
    ...pod.status,
    phase,
    conditions,
    qosClass: qosClassOf(pod.spec ?? {}),
    containerStatuses: specs.map((spec) => {
      const name = text(spec['name']);
      const image = text(spec['image']);
      const found = statuses.find((status) => status.name === name);
      const containerID = `emulator://${pod.metadata.uid ?? ''}-${name}-${found?.restartCount ?? 0}`;
      const state = found?.state ?? { kind: 'waiting' as const, reason: 'ContainerCreating' };
      return {
        name,
        state: stateOf(state, containerID),
        lastState: found?.lastTermination === undefined ? {} : stateOf(found.lastTermination, containerID),
        ready: state.kind === 'running',
        restartCount: found?.restartCount ?? 0,
        image,
        imageID: image,
        ...(found === undefined ? {} : { containerID }),
        started: state.kind === 'running',
      };
    }),
  };
}

function stateOf(state: ContainerState, containerID: string): Dict {
  switch (state.kind) {
    case 'waiting':
      return { waiting: { reason: state.reason } };
    case 'running':
      return { running: { startedAt: timestamp(state.startedAt) } };
    case 'terminated': {
      const { exitCode, startedAt, finishedAt } = state;
      const reason = exitCode === 0 ? 'Completed' : 'Error';
      const times = { startedAt: timestamp(startedAt), finishedAt: timestamp(finishedAt) };
      return { terminated: { exitCode, reason, ...times, containerID } };
    }
  }
}

function phaseOf(pod: KubeObject, statuses: readonly ContainerStatus[]): string {
  if (statuses.length === 0) return 'Pending';
  const policy = text(at(pod, 'spec.restartPolicy'));
  const codes = statuses.map(({ state }) => (state.kind === 'terminated' ? state.exitCode : undefined));
  const allEnded = codes.every((code) => code !== undefined);
  const failed = codes.some((code) => code !== 0);
  if (allEnded && (policy === 'Never' || (policy === 'OnFailure' && !failed))) return failed ? 'Failed' : 'Succeeded';
  const begun = statuses.some(({ state, restartCount }) => state.kind !== 'waiting' || restartCount > 0);
  return begun ? 'Running' : 'Pending';
}
