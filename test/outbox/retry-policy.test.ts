// When a failed delivery is tried again, and when it is given up.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isExhausted, MAX_RETRY_TIME_MS, retryDelay } from '../../src/outbox/courier/retry-policy.ts';

const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('the wait before the next try', () => {
  it('is anything between nothing and a bound that doubles with each failure, up to 30 seconds', () => {
    expect([1, 2, 3, 4, 5, 6, 7, 8].map((failures) => retryDelay(failures, null, 1))).toEqual([
      500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000,
    ]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), chance, (failures, random) => {
        const wait = retryDelay(failures, null, random);
        expect(wait).toBeGreaterThanOrEqual(0);
        expect(wait).toBeLessThanOrEqual(30_000);
      }),
    );
  });

  it('is spread over the whole range', () => {
    expect(retryDelay(3, null, 0)).toBe(0);
    expect(retryDelay(3, null, 0.5)).toBe(1000);
  });

  it('is never shorter than the server asks for', () => {
    expect(retryDelay(1, 60_000, 0.9)).toBe(60_000);
    expect(retryDelay(4, 100, 0.5)).toBe(2000);
    expect(retryDelay(4, null, 0.5)).toBe(2000);
  });
});

describe('a delivery is given up', () => {
  it('when one more has failed than retries are allowed', () => {
    expect(isExhausted(5, 5, 0)).toBe(false);
    expect(isExhausted(6, 5, 0)).toBe(true);
    expect(isExhausted(1, 0, 0)).toBe(true);
  });

  it('after two minutes of failures even when retries are left', () => {
    expect(MAX_RETRY_TIME_MS).toBe(120_000);
    expect(isExhausted(1, 100, 120_000)).toBe(false);
    expect(isExhausted(1, 100, 120_001)).toBe(true);
  });
});
