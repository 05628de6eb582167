// Whose resource it is: the identifiers that it has, as tokens, and whether it has, or can have, a certain one.
import { isObject, type Json } from './json.ts';
import { readIdentifier, type Token, tokenKey } from './token.ts';

/** What is no identifier is left out. */
export function identifiersIn({ identifier }: Json): Token[] {
  const all = Array.isArray(identifier) ? identifier.filter(isObject) : [];
  return all.flatMap(({ system, value }) => {
    const reading = readIdentifier(textOf(system), textOf(value));
    return reading.kind === 'token' ? [reading.token] : [];
  });
}

export function haveOneInCommon(some: readonly Token[], others: readonly Token[]): boolean {
  const keys = new Set(others.map(tokenKey));
  return some.some((one) => keys.has(tokenKey(one)));
}

/** Whether it has the identifier that it is written by. */
export function hasIdentifier(resource: Json, token: Token): boolean {
  return haveOneInCommon(identifiersIn(resource), [token]);
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

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
