import { ApiError, badRequest } from './api-error.js';
import type { Dict, KubeObject } from './json.js';
import { at, dict, dicts, text } from './json.js';

export type Matcher = (object: KubeObject) => boolean;

interface Requirement {
  readonly key: string;
  readonly operator: '=' | '!=' | 'in' | 'notin' | 'exists' | '!' | '>' | '<';
  readonly values: readonly string[];
}

/** `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1`; empty matches everything. */
export function parseLabelSelector(selector: string): Matcher {
  const requirements = splitOutsideParentheses(selector).map(parseRequirement);
  return (object) => requirements.every((requirement) => labelMatches(requirement, object.metadata.labels ?? {}));
}

function splitOutsideParentheses(selector: string): string[] {
  return selector
    .split(/,(?![^()]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

const KEY = '[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?';
const SET = new RegExp(`^(${KEY})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const EQUALITY = new RegExp(`^(${KEY})\\s*(==|=|!=|>|<)\\s*([-A-Za-z0-9_.]*)$`);
const EXISTS = new RegExp(`^(!?)\\s*(${KEY})$`);

function parseRequirement(part: string): Requirement {
  const set = SET.exec(part);
  if (set !== null) {
    const [, key = '', operator, values = ''] = set;
    return { key, operator: operator as 'in' | 'notin', values: values.split(',').map((value) => value.trim()) };
  }
  const equality = EQUALITY.exec(part);
  if (equality !== null) {
    const [, key = '', operator = '=', value = ''] = equality;
    return { key, operator: operator === '==' ? '=' : (operator as Requirement['operator']), values: [value] };
  }
  const exists = EXISTS.exec(part);
  if (exists !== null) return { key: exists[2] ?? '', operator: exists[1] === '!' ? '!' : 'exists', values: [] };
  throw badRequest(`unable to parse requirement: found '${part}', expected: a label selector such as 'app=web'`);
}

function labelMatches({ key, operator, values }: Requirement, labels: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case '=':
    case 'in':
      return value !== undefined && values.includes(value);
    case '!=':
    case 'notin':
      return value === undefined || !values.includes(value);
    case 'exists':
      return value !== undefined;
    case '!':
      return value === undefined;
    case '>':
      return Number(value) > Number(values[0]);
    case '<':
      return Number(value) < Number(values[0]);
  }
}

/** metav1.LabelSelector as controllers hold it; an absent one matches nothing, an empty one everything. */
export function labelSelectorMatcher(selector: unknown): Matcher {
  if (selector === undefined || selector === null) return () => false;
  return parseLabelSelector(formatLabelSelector(selector));
}

/** The text form of a metav1.LabelSelector, as Scale's status and printed tables show it: in the order of the keys. */
export function formatLabelSelector(selector: unknown): string {
  const { matchLabels, matchExpressions } = dict(selector);
  const equal = Object.entries(dict(matchLabels)).map(([key, value]) => [key, `${key}=${String(value)}`] as const);
  const others = dicts(matchExpressions).map(
    (expression) => [text(expression['key']), formatExpression(expression)] as const,
  );
  return [...equal, ...others]
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, requirement]) => requirement)
    .join(',');
}

function formatExpression({ key, operator, values }: Dict): string {
  const set = `(${Array.isArray(values) ? values.join(',') : ''})`;
  switch (operator) {
    case 'In':
      return `${String(key)} in ${set}`;
    case 'NotIn':
      return `${String(key)} notin ${set}`;
    case 'DoesNotExist':
      return `!${String(key)}`;
    default:
      return String(key);
  }
}

/** `metadata.name=x,status.phase!=Running`; only `supported` fields beside name and namespace. */
export function parseFieldSelector(selector: string, supported: readonly string[]): Matcher {
  const terms = selector
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const match = /^\s*([^=!\s]+)\s*(==|=|!=)\s*(.*?)\s*$/.exec(part);
      if (match === null)
        throw badRequest(`invalid field selector: '${part}' can't be understood; write 'field=value'`);
      const [, field = '', operator, value = ''] = match;
      if (field !== 'metadata.name' && field !== 'metadata.namespace' && !supported.includes(field)) {
        throw new ApiError(400, 'BadRequest', `field label not supported: ${field}`);
      }
      return { field, negative: operator === '!=', value: value.replace(/\\(.)/g, '$1') };
    });
  return (object) => terms.every(({ field, negative, value }) => (fieldText(at(object, field)) === value) !== negative);
}

function fieldText(value: unknown): string {
  return value === undefined || value === null ? '' : String(value);
}
