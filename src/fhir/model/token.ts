// Identifiers as FHIR search tokens: how a (system, value) pair of the database is read, compared and written into a URL.

import { isFhirString } from './primitives.ts';

/** Of system and value in UTF-8: PostgreSQL keeps identifiers in an index, whose entries have 2,704 bytes at most. */
export const MOST_IDENTIFIER_BYTES = 2000;

/**
 * An identifier as FHIR's search term system|value, https://hl7.org/fhir/R4/search.html#token , and no access token. The system is ''
 * for an identifier without one.
 */
export interface Token {
  readonly system: string;
  readonly value: string;
}

/** What a pair of columns turned out to be. A `reason` names the fault, never the identifier: it goes into logs. */
export type IdentifierReading =
  | { readonly kind: 'token'; readonly token: Token }
  | { readonly kind: 'absent' }
  | { readonly kind: 'invalid'; readonly reason: string };

/**
 * Reads identifier_system and identifier_value. White space around either is removed, because servers remove it when
 * they search: on HAPI ' 7 ' and '7' are one patient, so two rows that differ in nothing else must be one token here
 * too, or one patient's data would land on the other's resource. An empty value is no identifier. What cannot be an
 * Identifier at all (white space inside a URI, control characters) or is too long to be kept is invalid: changing it could
 * make two equal.
 */
export function readIdentifier(system: string | null | undefined, value: string | null | undefined): IdentifierReading {
  const token: Token = { system: (system ?? '').trim(), value: (value ?? '').trim() };
  if (token.value === '') return { kind: 'absent' };
  // https://hl7.org/fhir/R4/datatypes.html#uri
  if (/\s/u.test(token.system)) {
    return { kind: 'invalid', reason: 'its system holds white space, which a FHIR URI cannot' };
  }
  if (!isFhirString(token.system) || !isFhirString(token.value)) {
    return { kind: 'invalid', reason: 'it holds control characters, which FHIR does not allow' };
  }
  if (Buffer.byteLength(token.system) + Buffer.byteLength(token.value) > MOST_IDENTIFIER_BYTES) {
    return { kind: 'invalid', reason: 'it is longer than 2,000 bytes' };
  }
  return { kind: 'token', token };
}

/** Whether two tokens name the same identifier. */
export function sameToken(one: Token, other: Token): boolean {
  return one.system === other.system && one.value === other.value;
}

/** Equal for tokens that name the same identifier: a system has no white space. To look for one among thousands. */
export function tokenKey({ system, value }: Token): string {
  return `${system} ${value}`;
}

/** Each identifier once, where it comes first. */
export function withoutRepeats(tokens: readonly Token[]): Token[] {
  const seen = new Set<string>();
  return tokens.filter((token) => seen.size < seen.add(tokenKey(token)).size);
}

/** Whether two lists name the same identifiers in the same order. */
export function sameTokens(ones: readonly Token[], others: readonly Token[]): boolean {
  return ones.length === others.length && ones.every((one, at) => sameToken(one, others[at] as Token));
}

/**
 * A token as the value of a search parameter, ready for a URL. FHIR's own escapes come first
 * (https://hl7.org/fhir/R4/search.html#escaping), then percent-encoding; the separator is %7C, because Tomcat answers
 * 400 to a raw |. Without a system the parameter is `|value`, which matches only identifiers that have none.
 */
export function tokenParameter(token: Token): string {
  return `${encodeURIComponent(escapeParameter(token.system))}%7C${encodeURIComponent(escapeParameter(token.value))}`;
}

function escapeParameter(text: string): string {
  return text.replace(/[\\,$|]/g, '\\$&');
}
