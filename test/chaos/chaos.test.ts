// A minute of chaos with a third of the kinds of faults, drawn anew each time: npm run test:chaos has them all.
import { randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import { Dice } from '../support/dice.ts';
import { runChaos } from './chaos.ts';
import { FAULTS } from './faults.ts';

const SECONDS = 60;
const seed = Number(process.env.CHAOS_SEED ?? randomInt(1, 1_000_000));
const kinds = Object.keys(FAULTS);
const faults = new Dice(seed, 100).shuffled(kinds).slice(0, Math.ceil(kinds.length / 3));

test('every promise is kept through a minute of faults of several kinds', async () => {
  console.log(`CHAOS_SEED=${seed}: ${faults.join(', ')}`);
  const { violations, strikes, summary } = await runChaos({ seed, seconds: SECONDS, faults, say: () => undefined });
  console.log(`Chaos with seed ${seed}: ${[...strikes].map(([kind, count]) => `${kind} ${count}`).join(', ')}`);
  expect(violations).toEqual([]);
  expect(summary.transactions).toBeGreaterThan(0);
});
