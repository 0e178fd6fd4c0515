import type { Dict, KubeObject } from '../json.js';
import type { ResourceType } from '../resource-table.js';
import { apiVersionOf, resourceById } from '../resource-table.js';

/** What a field of events.k8s.io/v1 is called in the core events, as which both are stored. */
const CORE_NAMES: Readonly<Record<string, string>> = {
  metadata: 'metadata',
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

/** The type under which objects of `type` are stored. */
export function storedType(type: ResourceType): ResourceType {
  return type.storedAs === undefined ? type : resourceById(type.storedAs);
}

/** A stored object as objects of `type` look. */
export function shownForm(type: ResourceType, object: KubeObject): KubeObject {
  if (type.storedAs === undefined) return object;
  const shown: KubeObject = { kind: type.kind, apiVersion: apiVersionOf(type), metadata: object.metadata };
  for (const [own, core] of Object.entries(CORE_NAMES)) if (object[core] !== undefined) shown[own] = object[core];
  shown['eventTime'] ??= null;
  return shown;
}

/** What a client has written of `type`, as it is stored; what `type` does not know is kept for the checks to find. */
export function storedForm(type: ResourceType, draft: Dict): Dict {
  if (type.storedAs === undefined) return draft;
  const stored: Dict = {};
  for (const [name, value] of Object.entries(draft)) stored[CORE_NAMES[name] ?? name] = value;
  const { kind, version } = resourceById(type.storedAs);
  // A body for another kind than this is left to be refused.
  if (draft['kind'] === undefined || draft['kind'] === type.kind) stored['kind'] = kind;
  if (draft['apiVersion'] === undefined || draft['apiVersion'] === apiVersionOf(type)) stored['apiVersion'] = version;
  return stored;
}
