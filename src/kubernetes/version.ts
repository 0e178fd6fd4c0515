/** 36 of `v1.36.2-gke.100` and the like; undefined for anything else. */
export function minorOf(version: string | undefined): number | undefined {
  const match = /^v?1\.(\d+)/.exec(version ?? '');
  return match === null ? undefined : Number(match[1]);
}

/** False where either is not known. */
export function isOlder(version: string | undefined, than: string): boolean {
  const [have, want] = [minorOf(version), minorOf(than)];
  return have !== undefined && want !== undefined && have < want;
}
