// A surface as an ordinary test: so many runs of what npm run fuzz does for as long as one likes.
import { randomInt } from 'node:crypto';
import { expect } from 'vitest';
import { check, repeatOf, type Surface } from './surface.ts';

/** Within these, however slow the machine is. */
const SECONDS = 40;

/** The last run that was begun in that time is waited for, and may wait for a time-out of its own. */
export const PATIENCE = { timeout: 300_000 };

/** Draws anew each time, or by FUZZ_SEED. */
export async function briefly(surface: Surface, runs: number): Promise<void> {
  const seed = Number(process.env.FUZZ_SEED ?? randomInt(1, 1_000_000));
  const checked = await check(surface, { seed, runs, seconds: SECONDS });
  const { failure } = checked;
  expect(
    failure && `${failure.error}\n${failure.counterexample}\nAgain: ${repeatOf(surface.name, checked)}`,
  ).toBeNull();
  expect(checked.runs).toBeGreaterThan(0);
}
