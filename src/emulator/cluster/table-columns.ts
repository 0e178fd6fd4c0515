import type { Dict } from './json.js';

interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'boolean' | 'date';
  readonly description: string;
  /** Above 0: only shown by `-o wide`. */
  readonly priority: number;
}

/** What a column says, where its name does not. */
const DESCRIPTIONS: Readonly<Record<string, string>> = {
  Name: 'The name of the object, unique within its namespace and resource.',
  Age: 'The time since the server created the object.',
  'Created At': 'When the server created the object.',
  Ready: 'How many are ready, of how many that are wanted.',
  Status: 'The state of the object in one word.',
  Restarts: 'How often the containers were restarted, and when that last happened.',
  IP: 'The address of the pod; empty until it has one.',
  Node: 'The node on which the pod runs; empty until it is scheduled.',
  'Nominated Node': 'The node on which other pods make room for this one.',
  'Readiness Gates': 'How many further conditions of readiness hold.',
  Desired: 'How many are wanted.',
  Current: 'How many there are.',
  'Up-to-date': 'How many are of the present template.',
  Available: 'How many have been ready for long enough.',
  'Node Selector': 'The labels of the nodes that run the pods.',
  Completions: 'How many pods have succeeded, of how many that must.',
  Duration: 'How long the job took, or has taken so far.',
  Schedule: 'When jobs are started, in cron format.',
  Timezone: 'The time zone of the schedule.',
  Suspend: 'Whether no more jobs are started.',
  Active: 'How many jobs run.',
  'Last Schedule': 'The time since a job was last started.',
  Containers: 'The names of the containers in the template.',
  Images: 'The images of the containers in the template.',
  Selector: 'The labels by which pods belong to the object.',
  Type: 'What kind of object it is.',
  'Cluster-IP': 'The address inside the cluster.',
  'External-IP': 'The address outside the cluster.',
  'Port(s)': 'The ports and, where there are any, the node ports.',
  Roles: 'The roles of the node.',
  Version: 'The version of the kubelet.',
  'Last Seen': 'The time since the event was last seen.',
  'First Seen': 'The time since the event was first seen.',
  Reason: 'What happened, in one word.',
  Object: 'What the event is about.',
  Subobject: 'The part of the object that the event is about.',
  Source: 'Who reported the event.',
  Message: 'What happened.',
  Count: 'How often the event was seen.',
  Data: 'How many keys there are.',
  Endpoints: 'The addresses.',
  Holder: 'Who holds the lease.',
  Role: 'The role that is granted.',
  Capacity: 'The size of the volume.',
  'Access Modes': 'How the volume can be mounted.',
  'Reclaim Policy': 'What becomes of the volume when it is released.',
  Claim: 'The claim that the volume is bound to.',
  Reference: 'What is scaled.',
  Targets: 'What is measured, and what is aimed at.',
  MinPods: 'The least number of pods.',
  MaxPods: 'The greatest number of pods.',
  Replicas: 'How many pods there are.',
  Class: 'The class, which names the controller.',
  Hosts: 'The hosts whose requests are led.',
  Address: 'Where the requests come in.',
  Ports: 'The ports at which they come in.',
  Volume: 'The volume that the claim is bound to.',
};

/** Names in order; `*` before one shows it only in wide tables, `:type` behind one says that it is no string. */
export function columnsOf(...names: readonly string[]): readonly Column[] {
  return names.map((text) => {
    const [shown = '', type = 'string'] = text.split(':');
    const name = shown.replace('*', '');
    const description = DESCRIPTIONS[name] ?? `${name} of the object.`;
    return { name, type: type as Column['type'], description, priority: shown.startsWith('*') ? 1 : 0 };
  });
}

/** As tables carry it. */
export function columnDefinition({ name, type, description, priority }: Column): Dict {
  return { name, type, format: name === 'Name' ? 'name' : '', description, priority };
}

export type TableColumns = readonly Column[];
