import type { FieldError } from './api-error.js';
import type { KubeObject } from './json.js';
import { at, dict, dicts, list, same, text } from './json.js';
import type { ResourceType } from './resource-table.js';
import { formatLabelSelector, labelSelectorMatcher } from './selectors.js';

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const SUBDOMAIN_RULE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end " +
  "with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const LABEL_RULE =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end " +
  "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/** The rules beyond the schema that people run into; the real server has many more. */
export function validateObject(type: ResourceType, object: KubeObject, existing: KubeObject | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const { name } = object.metadata;
  // Role names may hold colons.
  if (type.group !== 'rbac.authorization.k8s.io' && (!SUBDOMAIN.test(name) || name.length > 253)) {
    errors.push(bad('metadata.name', JSON.stringify(name), SUBDOMAIN_RULE));
  }
  for (const value of Object.values(object.metadata.labels ?? {})) {
    if (!LABEL_VALUE.test(value) || value.length > 63)
      errors.push(bad('metadata.labels', JSON.stringify(value), LABEL_RULE));
  }
  if (type.id === 'pods') errors.push(...validatePod(object, existing));
  if (type.group === 'apps') errors.push(...validateWorkload(object, existing));
  if (existing !== undefined && dict(existing)['immutable'] === true && !same(existing['data'], object['data'])) {
    errors.push({
      reason: 'FieldValueForbidden',
      field: 'data',
      message: 'Forbidden: field is immutable when `immutable` is set',
    });
  }
  return errors;
}

function bad(field: string, value: string, rule: string): FieldError {
  return { reason: 'FieldValueInvalid', field, message: `Invalid value: ${value}: ${rule}` };
}

function validateWorkload(object: KubeObject, existing: KubeObject | undefined): FieldError[] {
  const selector = at(object, 'spec.selector');
  const errors: FieldError[] = [];
  const labels = at(object, 'spec.template.metadata.labels');
  const template = { kind: '', apiVersion: '', metadata: { name: '', labels: dict(labels) as Record<string, string> } };
  if (selector !== undefined && formatLabelSelector(selector) !== '' && !labelSelectorMatcher(selector)(template)) {
    errors.push(
      bad(
        'spec.template.metadata.labels',
        JSON.stringify(labels ?? null),
        '`selector` does not match template `labels`',
      ),
    );
  }
  if (existing !== undefined && !same(selector, at(existing, 'spec.selector'))) {
    errors.push(bad('spec.selector', JSON.stringify(selector ?? null), 'field is immutable'));
  }
  const replicas = at(object, 'spec.replicas');
  if (typeof replicas === 'number' && replicas < 0) {
    errors.push(bad('spec.replicas', String(replicas), 'must be greater than or equal to 0'));
  }
  return errors;
}

function validatePod(object: KubeObject, existing: KubeObject | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const own = dicts(at(object, 'spec.containers')).map((container) => text(container['name']));
  const ephemeral = dicts(at(object, 'spec.ephemeralContainers')).map((container) => text(container['name']));
  const names = [...own, ...ephemeral];
  names.forEach((name, index) => {
    if (names.indexOf(name) < index) {
      const place = index < own.length ? `containers[${index}]` : `ephemeralContainers[${index - own.length}]`;
      const field = `spec.${place}.name`;
      errors.push({ reason: 'FieldValueInvalid', field, message: `Duplicate value: ${JSON.stringify(name)}` });
    }
  });
  const before = dicts(at(existing ?? {}, 'spec.ephemeralContainers'));
  if (!before.every((container) => dicts(at(object, 'spec.ephemeralContainers')).some((now) => same(now, container)))) {
    errors.push({
      reason: 'FieldValueForbidden',
      field: 'spec.ephemeralContainers',
      message: 'Forbidden: existing ephemeral containers may not be removed or changed',
    });
  }
  if (existing !== undefined && !same(frozenPart(object), frozenPart(existing))) {
    errors.push({
      reason: 'FieldValueForbidden',
      field: 'spec',
      message:
        'Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,' +
        '`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),' +
        '`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
    });
  }
  return errors;
}

function frozenPart(pod: KubeObject): unknown {
  const { activeDeadlineSeconds: _deadline, tolerations: _tolerations, nodeName: _node, ...spec } = dict(pod.spec);
  const images = (containers: unknown): unknown =>
    list(containers).map((container) => ({ ...dict(container), image: '' }));
  return {
    ...spec,
    ephemeralContainers: [],
    containers: images(spec['containers']),
    initContainers: images(spec['initContainers']),
  };
}
