// When a server takes no Bundles, or only small ones: three refusals in a row that were for nobody.
import { expect, it } from 'vitest';
import { BundleLimit } from '../../src/fhir/client/bundle-limit.ts';

function limitOf(size: number): { limit: BundleLimit; told: number[] } {
  const told: number[] = [];
  return { limit: new BundleLimit(size, (smaller) => told.push(smaller)), told };
}

it('stays what it is as long as refusals pass', () => {
  const { limit, told } = limitOf(16);
  for (let n = 0; n < 5; n += 1) {
    limit.refusedAsSuch(16);
    limit.refusedAsSuch(16);
    limit.taken(16);
  }
  expect(limit.size).toBe(16);
  expect(told).toEqual([]);
});

it('is half of what was refused three times in a row, whatever smaller ones were taken meanwhile', () => {
  const { limit, told } = limitOf(16);
  for (let n = 0; n < 3; n += 1) {
    limit.taken(8);
    limit.refusedAsSuch(16);
    limit.taken(8);
  }
  expect(limit.size).toBe(8);
  expect(told).toEqual([8]);
});

it('is 1 where pairs are refused, and told once', () => {
  const { limit, told } = limitOf(16);
  for (const size of [2, 2, 4, 2, 2, 4, 8]) limit.refusedAsSuch(size);
  expect(limit.size).toBe(1);
  expect(told).toEqual([1]);
});

it('is never raised', () => {
  const { limit } = limitOf(4);
  for (let n = 0; n < 3; n += 1) limit.refusedAsSuch(16);
  expect(limit.size).toBe(4);
});
