// Who travels together: never two who share anything, nobody twice, nobody left behind, and nobody overtaken by his own kind.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { takeTogether, type Waiting } from '../../src/fhir/client/gathering.ts';
import { putOfId } from '../../src/fhir/client/put.ts';

interface Named extends Waiting {
  readonly name: string;
}

const put = (name: string, keys: readonly string[] = [name], characters = 0): Named => {
  const resource = { resourceType: 'Patient' as const, name: [{ text: 'x'.repeat(characters) }] };
  return { name, keys, put: putOfId(resource, '7', null, '') };
};
const alone = (name: string): Named => ({ name, keys: [], put: null });
const namesOf = (calls: readonly Named[]) => calls.map(({ name }) => name);

describe('takeTogether', () => {
  it('takes PUTs in their order, as many as may go', () => {
    const waiting = [put('a'), put('b'), put('c')];
    expect(namesOf(takeTogether(waiting, 2))).toEqual(['a', 'b']);
    expect(namesOf(takeTogether(waiting, 2))).toEqual(['c']);
    expect(takeTogether(waiting, 2)).toEqual([]);
  });

  it('lets go alone what is no PUT, and takes PUTs past it', () => {
    const waiting = [alone('r'), put('a'), alone('s'), put('b')];
    expect(namesOf(takeTogether(waiting, 9))).toEqual(['r']);
    expect(namesOf(takeTogether(waiting, 9))).toEqual(['a', 'b']);
    expect(namesOf(takeTogether(waiting, 9))).toEqual(['s']);
  });

  it('keeps apart who shares an id or an identifier', () => {
    const waiting = [put('a', ['Patient/7', 'urn:mrn|1']), put('b', ['urn:mrn|1']), put('c', ['urn:mrn|2'])];
    expect(namesOf(takeTogether(waiting, 9))).toEqual(['a', 'c']);
    expect(namesOf(takeTogether(waiting, 9))).toEqual(['b']);
  });

  it('takes no more than a megabyte of characters, and one that is larger by itself', () => {
    const waiting = [put('a', ['a'], 600_000), put('b', ['b'], 600_000), put('c'), put('d', ['d'], 2_000_000)];
    expect(namesOf(takeTogether(waiting, 9))).toEqual(['a', 'c']);
    expect(namesOf(takeTogether(waiting, 9))).toEqual(['b']);
    expect(namesOf(takeTogether(waiting, 9))).toEqual(['d']);
  });

  it('takes each once, whatever waits, none with one that it shares something with, and such ones in their order', () => {
    const call = fc.record({
      keys: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), { minLength: 1, maxLength: 3 }),
      single: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 30 }), fc.integer({ min: 1, max: 8 }), (calls, most) => {
        const all = calls.map(({ keys, single }, at) => (single ? alone(`${at}`) : put(`${at}`, keys)));
        const waiting = [...all];
        const gone: Named[] = [];
        while (waiting.length > 0) {
          const first = waiting[0];
          const taken = takeTogether(waiting, most);
          expect(taken[0]).toBe(first);
          expect(taken.length).toBeLessThanOrEqual(most);
          const keys = taken.flatMap((one) => one.keys);
          expect(new Set(keys).size).toBe(keys.length);
          if (taken.length > 1) expect(taken.every((one) => one.put !== null)).toBe(true);
          gone.push(...taken);
        }
        expect(namesOf(gone).toSorted()).toEqual(namesOf(all).toSorted());
        for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
          const ofKey = (from: readonly Named[]) => namesOf(from.filter(({ keys }) => keys.includes(key)));
          expect(ofKey(gone)).toEqual(ofKey(all));
        }
      }),
    );
  });
});
