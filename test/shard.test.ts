// Shards: each patient is in one of them, and names tell whose a slot is.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { filterOf, isOfAnotherCount, nameOf, type Shard, WHOLE } from '../src/shard.ts';
import { holds } from './support/shards.ts';

const shards = (count: number): Shard[] => Array.from({ length: count }, (_, index) => ({ index, count }));

describe('holds', () => {
  it('is true of exactly one shard, whatever the number, and of the first where there is no patient', () => {
    const patient = fc.option(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { nil: null });
    fc.assert(
      fc.property(patient, fc.integer({ min: 1, max: 64 }), (id, count) => {
        const holders = shards(count).filter((shard) => holds(shard, id));
        expect(holders).toHaveLength(1);
        if (id === null) expect(holders[0]?.index).toBe(0);
      }),
    );
  });
});

describe('filterOf', () => {
  it('is no condition where there is one shard', () => {
    expect(filterOf(WHOLE)).toBe('true');
  });
});

describe('nameOf', () => {
  it('is the base where there is one shard, and says which of how many otherwise', () => {
    expect(nameOf('slot', WHOLE)).toBe('slot');
    expect(nameOf('slot', { index: 2, count: 4 })).toBe('slot_2_of_4');
  });
});

describe('isOfAnotherCount', () => {
  it.each([
    ['slot', 4, true],
    ['slot', 1, false],
    ['slot_0_of_2', 1, true],
    ['slot_0_of_2', 4, true],
    ['slot_3_of_4', 4, false],
    // Other people's.
    ['slot_4_of_4', 2, false],
    ['slot_0_of_1', 2, false],
    ['slot_of_another', 2, false],
    ['another_slot_0_of_2', 4, false],
    ['slot_b_0_of_2', 4, false],
    ['slot_0_of_2_old', 4, false],
  ])('of %s, where there are %i: %s', (name, count, is) => {
    expect(isOfAnotherCount(name, 'slot', count)).toBe(is);
  });
});
