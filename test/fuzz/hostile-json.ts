// JSON that nobody would write in good faith: of wrong types, deep, huge, with names that JavaScript knows, with odd characters.
import fc from 'fast-check';
import { anyCharacters, anyUnits } from '../fhir/texts.ts';

/** Stands in every text that is generated here, so that it is seen where one was repeated. */
export const CANARY = '☃';

const ODD = [
  '',
  ' ',
  '\t\r\n',
  '\u0000',
  '\u001f',
  '\u007f',
  '\u2028',
  '\ufeff',
  '\ud800',
  '\udc00\ud800',
  '\u202eabc',
  '../..',
  "'; DROP TABLE patient; --",
  'https://evil.example.com/?a=b#c',
  '|',
  ',\\$',
  '2024-02-30',
  '-infinity',
  '0044-03-15 BC',
  '294276-12-31T23:59:59Z',
  '9999-12-31T24:00:00Z',
  '1e400',
  'NaN',
  '{}',
  'null',
];

/** With the canary or without, and a few of a megabyte. */
export const oddText: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...ODD) },
  { weight: 4, arbitrary: fc.oneof(anyCharacters, anyUnits).map((text) => CANARY + text) },
  { weight: 2, arbitrary: fc.constantFrom(...ODD).map((text) => `${CANARY}${text}${CANARY}`) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('a', '☃', '🏥', '\ud800', ' ', '/', '.'), fc.constantFrom(100, 1e4, 2 ** 20, 2 ** 20 + 1))
      .map(([character, length]) => character.repeat(length)),
  },
);

const oddNumber = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  fc.constantFrom(0, -0, -1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 + 2, -(2 ** 63), 1e308, 5e-324, 1e21),
);

/** The members that JavaScript's own objects have. */
const INHERITED = ['__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'toJSON', 'length', 'then'];

const memberName = fc.oneof(fc.constantFrom(...INHERITED, 'id', 'system', 'value', ''), oddText);

const DEPTHS = [10, 1000, 50_000];

/** So many arrays or objects in each other. */
export function nested(depth: number, open: string, inner: string, close: string): string {
  return open.repeat(depth) + inner + close.repeat(depth);
}

const deep = fc
  .tuple(fc.constantFrom(...DEPTHS), fc.constantFrom(['[', ']'], ['{"a":', '}'], ['{"__proto__":', '}']))
  .map(([depth, [open = '', close = '']]): unknown => JSON.parse(nested(depth, open, '1', close)));

/** JSON.parse makes a member __proto__ of an object its own, as it comes from PostgreSQL and from a server. */
function objectOf(members: readonly [string, unknown][]): unknown {
  const made: Record<string, unknown> = {};
  for (const [name, value] of members)
    Object.defineProperty(made, name, { value, enumerable: true, configurable: true, writable: true });
  return made;
}

const leaf = fc.oneof(
  { weight: 3, arbitrary: oddText },
  { weight: 2, arbitrary: oddNumber },
  { weight: 2, arbitrary: fc.constantFrom<unknown>(null, true, false, [], {}) },
);

const shallow: fc.Arbitrary<unknown> = fc.oneof(
  leaf,
  fc.array(leaf, { maxLength: 4 }),
  fc.array(fc.tuple(memberName, leaf), { maxLength: 4 }).map(objectOf),
);

export const oddJson: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 8, arbitrary: leaf },
  { weight: 4, arbitrary: fc.array(shallow, { maxLength: 4 }) },
  { weight: 4, arbitrary: fc.array(fc.tuple(memberName, shallow), { maxLength: 4 }).map(objectOf) },
  { weight: 1, arbitrary: deep },
  {
    weight: 1,
    // Of texts that are short: thirty thousand of a megabyte no program could write, and this one would try for minutes.
    arbitrary: fc
      .tuple(fc.constantFrom(1000, 30_000), leaf)
      .map(([length, value]) => Array(length).fill(typeof value === 'string' ? value.slice(0, 100) : value)),
  },
);

/** `whole` with some members replaced, left out or added. */
export function spoiled(
  whole: Readonly<Record<string, unknown>>,
  odd: fc.Arbitrary<unknown> = oddJson,
): fc.Arbitrary<Record<string, unknown>> {
  const names = Object.keys(whole);
  const name = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: memberName });
  const change = fc.tuple(
    name,
    fc.oneof({ weight: 6, arbitrary: odd }, { weight: 1, arbitrary: fc.constant(undefined) }),
  );
  return fc.array(change, { maxLength: 3 }).map((changes) => {
    const replaced = new Map(changes);
    const kept = Object.entries(whole).filter(([each]) => !replaced.has(each));
    const added = [...replaced].filter((entry) => entry[1] !== undefined);
    return objectOf([...kept, ...added]) as Record<string, unknown>;
  });
}

const BUILT_IN = [Object.prototype, Array.prototype, Function.prototype, String.prototype];
const before = BUILT_IN.map((prototype) => Object.getOwnPropertyNames(prototype).join());

/** Throws where something that all objects share has got a member. */
export function mustBeUnpolluted(): void {
  const now = BUILT_IN.map((prototype) => Object.getOwnPropertyNames(prototype).join());
  if (now.some((names, at) => names !== before[at])) throw new Error('A prototype was changed.');
}
