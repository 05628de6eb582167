// A resource as the values that it holds.

/** The values with their paths: name.given and "Mary", of { name: [{ given: ["Mary", "Ann"] }] }. */
export function leavesOf(value: unknown, path = ''): [string, unknown][] {
  if (Array.isArray(value)) return value.flatMap((part) => leavesOf(part, path));
  if (typeof value !== 'object' || value === null) return [[path, value]];
  return Object.entries(value).flatMap(([name, part]) => leavesOf(part, path === '' ? name : `${path}.${name}`));
}
