import type { Dict } from '../json.js';
import { isDict } from '../json.js';

/** RFC 7386: null removes, objects merge, everything else replaces. Nothing given is changed. */
export function applyMergePatch(target: unknown, patch: unknown): unknown {
  if (!isDict(patch)) return patch;
  const result: Dict = isDict(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = applyMergePatch(result[key], value);
  }
  return result;
}
