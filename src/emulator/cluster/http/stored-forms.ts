import type { Dict, KubeObject } from '../json.js';
import { dict, dicts } from '../json.js';
import type { ResourceType } from '../resource-table.js';
import { apiVersionOf, resourceById } from '../resource-table.js';

/** How objects of a type look that are stored as objects of another; kind, apiVersion and metadata are the caller's. */
interface Form {
  shown(stored: Dict): Dict;
  stored(shown: Dict): Dict;
}

/** What a field of events.k8s.io/v1 is called in the core events, as which both are stored. */
const CORE_NAMES: Readonly<Record<string, string>> = {
  eventTime: 'eventTime',
  series: 'series',
  reportingController: 'reportingComponent',
  reportingInstance: 'reportingInstance',
  action: 'action',
  reason: 'reason',
  regarding: 'involvedObject',
  related: 'related',
  note: 'message',
  type: 'type',
  deprecatedSource: 'source',
  deprecatedFirstTimestamp: 'firstTimestamp',
  deprecatedLastTimestamp: 'lastTimestamp',
  deprecatedCount: 'count',
};

const EVENT: Form = {
  shown(stored) {
    const shown: Dict = {};
    for (const [own, core] of Object.entries(CORE_NAMES)) if (stored[core] !== undefined) shown[own] = stored[core];
    shown['eventTime'] ??= null;
    return shown;
  },
  stored: (shown) =>
    Object.fromEntries(Object.entries(shown).map(([name, value]) => [CORE_NAMES[name] ?? name, value] as const)),
};

/** autoscaling/v1 knows one metric: the mean use of CPU, in percent of what the pods request. */
const AUTOSCALER: Form = {
  shown({ spec, status }) {
    const { metrics, behavior: _behavior, ...rest } = dict(spec);
    const cpu = dicts(metrics)
      .map(({ resource }) => dict(resource))
      .find(({ name }) => name === 'cpu');
    const percent = dict(cpu?.['target'])['averageUtilization'];
    const { currentMetrics: _metrics, conditions: _conditions, ...state } = dict(status);
    return {
      spec: { ...rest, ...(percent === undefined ? {} : { targetCPUUtilizationPercentage: percent }) },
      status: { currentReplicas: 0, ...state },
    };
  },
  stored({ spec, ...rest }) {
    const { targetCPUUtilizationPercentage: averageUtilization, ...kept } = dict(spec);
    const target = { type: 'Utilization', averageUtilization };
    const metrics = [{ type: 'Resource', resource: { name: 'cpu', target } }];
    return { ...rest, spec: averageUtilization === undefined ? kept : { ...kept, metrics } };
  },
};

/** By the id of the type under which they are stored. */
const FORMS: Readonly<Record<string, Form>> = {
  events: EVENT,
  'horizontalpodautoscalers.autoscaling': AUTOSCALER,
};

function formOf({ storedAs }: ResourceType): Form | undefined {
  return storedAs === undefined ? undefined : FORMS[storedAs];
}

/** The type under which objects of `type` are stored. */
export function storedType(type: ResourceType): ResourceType {
  return type.storedAs === undefined ? type : resourceById(type.storedAs);
}

/** A stored object as objects of `type` look. */
export function shownForm(type: ResourceType, object: KubeObject): KubeObject {
  const form = formOf(type);
  if (form === undefined) return object;
  const { kind: _kind, apiVersion: _version, metadata, ...rest } = object;
  return { kind: type.kind, apiVersion: apiVersionOf(type), metadata, ...form.shown(rest) };
}

/** What a client has written of `type`, as it is stored; what `type` does not know is kept for the checks to find. */
export function storedForm(type: ResourceType, draft: Dict): Dict {
  const form = formOf(type);
  if (form === undefined) return draft;
  const { kind, apiVersion, metadata, ...rest } = draft;
  const core = storedType(type);
  return {
    // A body for another kind than this is left to be refused.
    kind: kind === undefined || kind === type.kind ? core.kind : kind,
    apiVersion: apiVersion === undefined || apiVersion === apiVersionOf(type) ? apiVersionOf(core) : apiVersion,
    ...(metadata === undefined ? {} : { metadata }),
    ...form.stored(rest),
  };
}
