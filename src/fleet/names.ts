export function closestNames(_wanted: string, names: readonly string[]): string[] {
  return names.slice(0, 3);
}
