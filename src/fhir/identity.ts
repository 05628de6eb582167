// Whose resource it is: the identifiers that a resource on the server has, as tokens.
import { isObject, type Json } from './answer.ts';
import { readIdentifier, sameToken, type Token } from './token.ts';

/** What is no identifier is left out. */
export function identifiersIn({ identifier }: Json): Token[] {
  const all = Array.isArray(identifier) ? identifier.filter(isObject) : [];
  return all.flatMap(({ system, value }) => {
    const reading = readIdentifier(textOf(system), textOf(value));
    return reading.kind === 'token' ? [reading.token] : [];
  });
}

export function haveOneInCommon(some: readonly Token[], others: readonly Token[]): boolean {
  return some.some((one) => others.some((other) => sameToken(one, other)));
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
