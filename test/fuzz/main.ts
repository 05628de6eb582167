// npm run fuzz -- [--minutes M] [--seed N] [--only NAME] [--path P]: hostile input of every kind for as long as one likes.
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { check, repeatOf } from './surface.ts';
import { SURFACES } from './surfaces.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(randomInt(1, 1_000_000)) },
    minutes: { type: 'string', default: '10' },
    only: { type: 'string', multiple: true },
    /** Of a run that failed, as it was printed: with --seed and --only that one is repeated. */
    path: { type: 'string' },
  },
});
const names = SURFACES.map(({ name }) => name);
const unknown = values.only?.filter((name) => !names.includes(name)) ?? [];
if (unknown.length > 0) {
  console.error(`No surface is called ${unknown.join(', ')}. There are: ${names.join(', ')}.`);
  process.exit(2);
}
const [seed, minutes] = [Number(values.seed), Number(values.minutes)];
if (!Number.isSafeInteger(seed) || !(minutes > 0)) {
  console.error('--seed needs a whole number, and --minutes one above 0.');
  process.exit(2);
}
const surfaces = SURFACES.filter(({ name }) => values.only?.includes(name) ?? true);
const seconds = (minutes * 60) / surfaces.length;
console.log(`Seed ${seed}: ${surfaces.length} surfaces, ${Math.round(seconds)} s each.`);
let failed = 0;
for (const surface of surfaces) {
  const started = performance.now();
  const checked = await check(surface, { seed, seconds, runs: 1_000_000_000, path: values.path });
  const took = Math.round((performance.now() - started) / 1000);
  console.log(
    `${checked.failure ? 'FAILED' : 'ok    '} ${surface.name.padEnd(16)} ${String(checked.runs).padStart(8)} runs, ${took} s`,
  );
  if (!checked.failure) continue;
  failed += 1;
  console.log(`  ${checked.failure.error.replaceAll('\n', '\n  ')}`);
  console.log(`  Smallest input: ${checked.failure.counterexample.slice(0, 4000)}`);
  console.log(`  Again: ${repeatOf(surface.name, checked)}`);
}
console.log(
  `${failed === 0 ? 'No surface failed' : `${failed} surfaces failed`}. Again: npm run fuzz -- --seed ${seed} --minutes ${minutes}`,
);
process.exitCode = failed === 0 ? 0 : 1;
