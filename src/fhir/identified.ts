// Whether a resource has the identifier that it is written by, or was found by.

import { isObject, type Json } from './answer.ts';
import type { Resource } from './resources.ts';
import { readIdentifier, sameToken, type Token } from './token.ts';

export function hasIdentifier(resource: Resource, token: Token): boolean {
  return (resource.identifier ?? []).some(({ system, value }) => {
    const read = readIdentifier(system, value);
    return read.kind === 'token' && sameToken(read.token, token);
  });
}

/**
 * Whether a found resource can have this identifier. Servers differ in case and white space, and may leave the element
 * out; but one with other identifiers only means that the parameter was ignored, and any patient would "match".
 */
export function couldMatch(resource: Json, token: Token): boolean {
  const { identifier } = resource;
  if (!Array.isArray(identifier)) return true;
  return identifier.filter(isObject).some(({ value }) => {
    return typeof value === 'string' && value.trim().toLowerCase() === token.value.toLowerCase();
  });
}
