// In what a resource on the server differs from the one that we would write: the names of the elements, never their values.

import { isElementName } from './element-path.ts';
import { isObject, type Json } from './json.ts';
import { isFhirDateTime } from './primitives.ts';

/**
 * The server gives these: its id and version, and the narrative that it may generate. meta.profile is among them, for servers
 * may change claims (https://hl7.org/fhir/R4/resource.html#Meta), and no write of ours would end such a difference.
 */
const SERVERS_OWN = new Set(['id', 'meta', 'text']);
const UNKNOWN = '(unknown)';

/** Paths without positions, as `name.family`, in alphabetical order; none when both say the same. The order of members does not count. */
export function differences(ours: object, theirs: Json): string[] {
  const found = new Set<string>();
  compare(withoutServersOwn(ours), withoutServersOwn(theirs), '', found);
  return [...found].toSorted();
}

function compare(ours: unknown, theirs: unknown, path: string, found: Set<string>): void {
  if (isObject(ours) && isObject(theirs)) {
    for (const name of new Set([...Object.keys(ours), ...Object.keys(theirs)]))
      compare(ours[name], theirs[name], join(path, name in ours || isKnown(name) ? name : UNKNOWN), found);
  } else if (Array.isArray(ours) && Array.isArray(theirs) && ours.length === theirs.length) {
    for (const [index, part] of ours.entries()) compare(part, theirs[index], path, found);
  } else if (ours !== theirs && !sameMoment(ours, theirs)) found.add(path);
}

/** Whoever asks PostgreSQL is given a moment with the offset of his own time zone; a server may keep milliseconds only. */
function sameMoment(one: unknown, other: unknown): boolean {
  const isMoment = (value: unknown): value is string => typeof value === 'string' && isFhirDateTime(value);
  return isMoment(one) && isMoment(other) && Date.parse(one) === Date.parse(other);
}

function withoutServersOwn(resource: object): Json {
  return Object.fromEntries(Object.entries(resource).filter(([name]) => !SERVERS_OWN.has(name)));
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

/** A server may have anything for a name. With _ it is that of an element's extensions, https://hl7.org/fhir/R4/json.html#primitive . */
function isKnown(name: string): boolean {
  return isElementName(name.replace(/^_/, ''));
}
