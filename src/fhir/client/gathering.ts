// Which of the calls that wait go into the next request: PUTs of different patients together, all else alone.

import type { Put } from './put.ts';

/** A call that waits for a request. */
export interface Waiting {
  /** Null for what goes alone. */
  readonly put: Put | null;
  /** Whom it is about: who shares one of these with another never travels with it. */
  readonly keys: readonly string[];
}

/** Of resources in one Bundle, in characters, of which one takes three bytes in UTF-8 at most. */
const MOST_CHARACTERS = 1024 * 1024;

/**
 * Takes the first call out of `waiting`, and with it, where that is a PUT, as many PUTs as may go along; the others keep
 * their order. Two who share something never do: a server may drop one of them, or make one version of both.
 */
export function takeTogether<W extends Waiting>(waiting: W[], most: number): W[] {
  const first = waiting.shift();
  if (!first?.put) return first ? [first] : [];
  const taken = [first];
  const keys = new Set(first.keys);
  let characters = first.put.body.length;
  for (let at = 0; at < waiting.length && taken.length < most; ) {
    const next = waiting[at] as W;
    const size = next.put?.body.length ?? Number.POSITIVE_INFINITY;
    const goes = characters + size <= MOST_CHARACTERS && next.keys.every((key) => !keys.has(key));
    // Who shares something with one that stays does not overtake it either.
    for (const key of next.keys) keys.add(key);
    if (!goes) at += 1;
    else {
      waiting.splice(at, 1);
      taken.push(next);
      characters += size;
    }
  }
  return taken;
}
