import { randomUUID } from 'node:crypto';
import type { Clock } from '../../base/clock.js';
import { type ApiError, alreadyExists, badRequest, conflict, forbidden, invalid, notFound } from './api-error.js';
import type { AssignmentHelp } from './assignments.js';
import { assignOnCreate, assignOnUpdate, keepAssigned } from './assignments.js';
import { applyDefaults, qosClassOf } from './defaults.js';
import { checkFields } from './field-validation.js';
import type { Dict, KubeObject, ObjectMeta } from './json.js';
import { clone, dict, isDict, same, strings, text, timestamp } from './json.js';
import { recordUpdate } from './managed-fields.js';
import type { Random } from './names.js';
import { randomSuffix } from './names.js';
import type { ResourceType } from './resource-table.js';
import { apiVersionOf, resourceById } from './resource-table.js';
import { schemaOf } from './schema/schemas.js';
import type { Store } from './store.js';
import { validateObject } from './validation.js';

export interface WriteOptions {
  /** Who is noted in managedFields. */
  readonly manager: string;
  readonly dryRun?: boolean;
  readonly fieldValidation?: 'Ignore' | 'Warn' | 'Strict';
  readonly subresource?: string;
  /** Collects what becomes Warning headers. */
  readonly warnings?: string[];
  /** The managedFields are already right: server-side apply has made them. */
  readonly applied?: true;
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: string;
  readonly dryRun?: boolean;
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** Without them an update cannot be told from a second creation, so that clients may not set or change them. */
const EMPTY_IS_ABSENT = ['annotations', 'labels', 'finalizers', 'ownerReferences', 'managedFields'];
const SYSTEM_METADATA = ['uid', 'creationTimestamp', 'deletionTimestamp', 'deletionGracePeriodSeconds', 'generation'];

/** The rules of writing: defaults, validation, generations, optimistic concurrency, finalizers, grace. */
export class Registry {
  readonly store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #help: AssignmentHelp;

  constructor(options: { store: Store; clock: Clock; random: Random; help: AssignmentHelp }) {
    this.store = options.store;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#help = options.help;
  }

  find(type: ResourceType, namespace: string, name: string): KubeObject {
    const found = this.store.get(type.storedAs ?? type.id, namespace, name);
    if (found === undefined) throw notFound(type, name);
    return found;
  }

  /** `draft` is taken over: the caller gives it up. */
  create(type: ResourceType, namespace: string, draft: Dict, options: WriteOptions): KubeObject {
    const object = this.#shape(type, namespace, draft, options);
    const { metadata } = object;
    if (metadata.name === '') {
      const prefix = text(metadata['generateName']);
      if (prefix === '') throw this.#nameless(type);
      metadata.name = `${prefix}${randomSuffix(this.#random)}`;
    }
    this.#checkNamespace(type, namespace, metadata.name);
    if (this.store.get(type.id, namespace, metadata.name) !== undefined) throw alreadyExists(type, metadata.name);
    for (const key of SYSTEM_METADATA) delete metadata[key];
    // Before it is stored, because some of what is assigned below names it.
    metadata.uid = randomUUID();
    if (type.generation) metadata.generation = 1;
    if (type.id === 'pods') object.status = { phase: 'Pending', qosClass: qosClassOf(dict(object.spec)) };
    else if (type.subresources.some(({ name }) => name === 'status') && type.id !== 'nodes') delete object.status;
    applyDefaults(object);
    // What the server assigns below belongs to no manager.
    if (options.applied !== true) recordUpdate(type, undefined, object, { ...options, now: this.#clock.now() });
    assignOnCreate(object, this.#help);
    this.#validate(type, object, undefined);
    return options.dryRun === true ? this.store.preview(object) : this.store.create(type.id, object);
  }

  /** Stores `draft` in the place of `existing`; the answer is `existing` itself when nothing would change. */
  update(type: ResourceType, existing: KubeObject, draft: Dict, options: WriteOptions): KubeObject {
    const namespace = existing.metadata.namespace ?? '';
    const object = this.#shape(type, namespace, draft, options);
    const { name } = existing.metadata;
    if (object.metadata.name !== name) {
      throw badRequest(`the name of the object (${object.metadata.name}) does not match the name on the URL (${name})`);
    }
    const { resourceVersion, uid } = object.metadata;
    if (
      resourceVersion !== undefined &&
      resourceVersion !== '' &&
      resourceVersion !== existing.metadata.resourceVersion
    ) {
      throw conflict(type, name);
    }
    if (uid !== undefined && uid !== existing.metadata.uid) {
      const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${existing.metadata.uid ?? ''}`;
      throw conflict(type, name, why);
    }
    for (const key of SYSTEM_METADATA) restore(object.metadata, existing.metadata, key);
    object.metadata.resourceVersion = existing.metadata.resourceVersion ?? '';
    this.#keepOtherHalf(type, object, existing, options.subresource);
    if (options.subresource !== 'finalize') keepAssigned(object, existing);
    applyDefaults(object);
    this.#validate(type, object, existing);
    if (type.generation && !same(wishOf(object), wishOf(existing))) {
      object.metadata.generation = (existing.metadata.generation ?? 0) + 1;
    }
    if (options.applied !== true) recordUpdate(type, existing, object, { ...options, now: this.#clock.now() });
    assignOnUpdate(object, this.#help);
    if (same(object, existing)) return existing;
    if (options.dryRun === true) return object;
    if (isReadyToGo(object)) return this.store.remove(type.id, this.store.update(type.id, object)) ?? object;
    return this.store.update(type.id, object);
  }

  /** For controllers: changes what is stored now, or does nothing when it is gone. */
  change(
    type: ResourceType,
    object: KubeObject,
    options: WriteOptions,
    act: (draft: KubeObject) => void,
  ): KubeObject | undefined {
    const current = this.store.get(type.id, object.metadata.namespace ?? '', object.metadata.name);
    if (current === undefined || current.metadata.uid !== object.metadata.uid) return undefined;
    const draft = clone(current);
    act(draft);
    return this.update(type, current, draft, options);
  }

  /** `gone` is false while a finalizer or the grace period keeps the object. */
  delete(type: ResourceType, existing: KubeObject, options: DeleteOptions): { object: KubeObject; gone: boolean } {
    this.#checkPreconditions(type, existing, options);
    const draft = clone(existing);
    const finalizers = new Set(strings(draft.metadata['finalizers']));
    if (options.propagationPolicy === 'Foreground') finalizers.add('foregroundDeletion');
    if (options.propagationPolicy === 'Orphan') finalizers.add('orphan');
    if (finalizers.size > 0) draft.metadata['finalizers'] = [...finalizers];
    const grace = this.#graceOf(type, existing, options);
    const waits = grace > 0 || finalizers.size > 0 || (type.id === 'namespaces' && namespaceHolds(existing));
    if (options.dryRun === true) return { object: draft, gone: !waits };
    if (!waits) {
      const last = this.store.remove(type.id, existing);
      return { object: last ?? existing, gone: true };
    }
    const already = existing.metadata.deletionTimestamp !== undefined;
    if (!already || grace < (existing.metadata.deletionGracePeriodSeconds ?? 0)) {
      draft.metadata.deletionTimestamp = timestamp(this.#clock.now() + grace * 1000);
      draft.metadata.deletionGracePeriodSeconds = grace;
      if (type.generation) draft.metadata.generation = (draft.metadata.generation ?? 0) + 1;
    }
    if (type.id === 'namespaces') draft.status = { ...dict(draft.status), phase: 'Terminating' };
    if (isReadyToGo(draft) && type.id !== 'namespaces') {
      return { object: this.store.remove(type.id, existing) ?? existing, gone: true };
    }
    return { object: same(draft, existing) ? existing : this.store.update(type.id, draft), gone: false };
  }

  /** Ends the grace period: what remains to be waited for are finalizers. */
  endGrace(type: ResourceType, object: KubeObject): void {
    const current = this.store.get(type.id, object.metadata.namespace ?? '', object.metadata.name);
    if (current === undefined || current.metadata.uid !== object.metadata.uid) return;
    const draft = clone(current);
    draft.metadata.deletionGracePeriodSeconds = 0;
    if (isReadyToGo(draft)) this.store.remove(type.id, current);
    else this.store.update(type.id, draft);
  }

  #shape(type: ResourceType, namespace: string, draft: Dict, options: WriteOptions): KubeObject {
    const apiVersion = apiVersionOf(type);
    const { kind, apiVersion: given } = draft;
    if ((kind !== undefined && kind !== type.kind) || (given !== undefined && given !== apiVersion)) {
      throw badRequest(
        `${text(kind)} in version "${text(given)}" cannot be handled as a ${type.kind}: the path names ${type.kind} in version "${apiVersion}"`,
      );
    }
    const schema = schemaOf(type.schema);
    if (schema !== undefined) {
      const { unknown, mistyped } = checkFields(draft, schema);
      const told = unknown.map((path) => `unknown field "${path}"`);
      if (mistyped.length > 0) {
        throw badRequest(
          `${type.kind} in version "${type.version}" cannot be handled as a ${type.kind}: ${mistyped.join('; ')}`,
        );
      }
      if (told.length > 0 && options.fieldValidation === 'Strict') throw strictError(type, told);
      if (options.fieldValidation !== 'Ignore') options.warnings?.push(...told);
    }
    const metadata: ObjectMeta = { ...dict(draft['metadata']), name: text(dict(draft['metadata'])['name']) };
    // A real server leaves out what is empty, and kubectl diff would show it as a change.
    for (const key of EMPTY_IS_ABSENT) if (isEmpty(metadata[key])) delete metadata[key];
    if (type.namespaced) {
      if (metadata.namespace !== undefined && metadata.namespace !== '' && metadata.namespace !== namespace) {
        throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
      }
      metadata.namespace = namespace;
    } else {
      delete metadata.namespace;
    }
    const { kind: _kind, apiVersion: _apiVersion, metadata: _metadata, ...rest } = draft;
    return { kind: type.kind, apiVersion, metadata, ...rest };
  }

  #validate(type: ResourceType, object: KubeObject, existing: KubeObject | undefined): void {
    const schema = schemaOf(type.schema);
    const missing = schema === undefined ? [] : checkFields(object, schema).missing;
    const errors = [...missing, ...validateObject(type, object, existing)];
    if (errors.length > 0) throw invalid(type, object.metadata.name, errors);
  }

  #nameless(type: ResourceType): ApiError {
    return invalid(type, '', [
      {
        reason: 'FieldValueRequired',
        field: 'metadata.name',
        message: 'Required value: name or generateName is required',
      },
    ]);
  }

  #checkNamespace(type: ResourceType, namespace: string, name: string): void {
    if (!type.namespaced) return;
    const found = this.store.get('namespaces', '', namespace);
    if (found === undefined) throw notFound(resourceById('namespaces'), namespace);
    if (found.metadata.deletionTimestamp !== undefined && type.id !== 'events') {
      const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
      throw forbidden(type, name, why);
    }
  }

  /** A write to the main resource keeps the status, a write to `status` keeps everything else. */
  #keepOtherHalf(type: ResourceType, object: KubeObject, existing: KubeObject, subresource: string | undefined): void {
    if (!type.subresources.some(({ name }) => name === 'status')) return;
    if (type.id === 'pods' && subresource !== 'status') keepPodHalf(object, existing, subresource);
    if (subresource === 'status') {
      for (const key of Object.keys(object))
        if (!['kind', 'apiVersion', 'metadata', 'status'].includes(key)) delete object[key];
      for (const [key, value] of Object.entries(existing))
        if (key !== 'status' && key !== 'metadata') object[key] = clone(value);
    } else {
      restore(object, existing, 'status');
    }
  }

  #checkPreconditions(type: ResourceType, existing: KubeObject, options: DeleteOptions): void {
    const { name, uid = '', resourceVersion = '' } = existing.metadata;
    if (options.uid !== undefined && options.uid !== uid) {
      throw conflict(
        type,
        name,
        `Precondition failed: UID in precondition: ${options.uid}, UID in object meta: ${uid}`,
      );
    }
    if (options.resourceVersion !== undefined && options.resourceVersion !== resourceVersion) {
      const found = `ResourceVersion in object meta: ${resourceVersion}`;
      throw conflict(
        type,
        name,
        `Precondition failed: ResourceVersion in precondition: ${options.resourceVersion}, ${found}`,
      );
    }
  }

  #graceOf(type: ResourceType, existing: KubeObject, options: DeleteOptions): number {
    if (type.id !== 'pods') return 0;
    const spec = dict(existing.spec);
    const phase = dict(existing.status)['phase'];
    if (spec['nodeName'] === undefined || phase === 'Succeeded' || phase === 'Failed') return 0;
    const wanted = spec['terminationGracePeriodSeconds'];
    return options.gracePeriodSeconds ?? (typeof wanted === 'number' ? wanted : 30);
  }
}

/** Ephemeral containers are written through their subresource, and nothing else is. */
function keepPodHalf(object: KubeObject, existing: KubeObject, subresource: string | undefined): void {
  if (subresource !== 'ephemeralcontainers') {
    if (isDict(object.spec)) restore(object.spec, dict(existing.spec), 'ephemeralContainers');
    return;
  }
  const spec = clone(dict(existing.spec));
  restore(spec, dict(object.spec), 'ephemeralContainers');
  object.spec = spec;
  object.metadata = clone(existing.metadata);
}

/** The node is the scheduler's doing: being placed is no new generation of a pod. */
function wishOf(object: KubeObject): Dict {
  const { nodeName: _node, ...wish } = dict(object.spec);
  return object.kind === 'Pod' ? wish : dict(object.spec);
}

function restore(target: Dict, source: Dict, key: string): void {
  if (source[key] === undefined) delete target[key];
  else target[key] = clone(source[key]);
}

function isReadyToGo(object: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds = 0 } = object.metadata;
  if (deletionTimestamp === undefined || deletionGracePeriodSeconds > 0) return false;
  return (
    strings(object.metadata['finalizers']).length === 0 && !(object.kind === 'Namespace' && namespaceHolds(object))
  );
}

function namespaceHolds(object: KubeObject): boolean {
  return isDict(object.spec) && strings(object.spec['finalizers']).length > 0;
}

function strictError(type: ResourceType, told: readonly string[]): ApiError {
  const message = `${type.kind} in version "${type.version}" cannot be handled as a ${type.kind}: strict decoding error: ${told.join(', ')}`;
  return badRequest(message);
}

function isEmpty(value: unknown): boolean {
  return value === null || (typeof value === 'object' && Object.keys(value).length === 0);
}
