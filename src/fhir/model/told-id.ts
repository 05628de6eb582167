// The id that a FHIR server gave to a resource, for people to read: ids name resources in logs, traces and commands. Some servers, and
// some of those who write to them, make ids of a patient's number or name; such an id stays where it is needed.

import { isObject } from './json.ts';

/** Stands where an id would. */
const WITHHELD = '(withheld)';
/** What is shorter may be in a number by chance: it has to be a whole part of the id. */
const TELLING = 8;
const SHORTEST = 3;
const SHORTEST_NUMBER = 6;

/** `about`: the resource, or the row that it was made of. Also for a version, which is the server's as well. */
export function toldId<T extends string | null>(id: T, about: unknown): T | typeof WITHHELD {
  if (id === null) return id;
  const whole = simplified(id);
  // As versions are.
  if (whole.length < SHORTEST) return id;
  const parts = new Set([whole, ...id.toLowerCase().split(/[-.]/)]);
  return textsIn(withoutItself(about)).some((text) => holds(whole, parts, text)) ? WITHHELD : id;
}

function holds(whole: string, parts: ReadonlySet<string>, text: string): boolean {
  const value = simplified(text);
  if (value.length >= SHORTEST && (parts.has(value) || (value.length >= TELLING && whole.includes(value)))) return true;
  return wordsIn(text).some((word) => parts.has(word) || (word.length >= TELLING && whole.includes(word)));
}

function wordsIn(text: string): string[] {
  // It is one, and was looked at.
  if (/^[A-Za-z0-9]*$/.test(text)) return [];
  const words = text.toLowerCase().split(/[^a-z0-9]+/);
  return words.filter((word) => word.length >= (/^\d*$/.test(word) ? SHORTEST_NUMBER : SHORTEST));
}

/** An id has letters, digits, hyphens and dots alone: what was put into one lost the rest. */
function simplified(text: string): string {
  return text.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}

/** A resource as the server has it holds its id and its version. */
function withoutItself(about: unknown): unknown {
  return isObject(about) ? { ...about, id: undefined, meta: undefined } : about;
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}
