// npm run test:chaos -- [--seed N] [--minutes M] [--only "kind"]: chaos for as long as one likes, with every kind of fault.
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';
import { FAULTS } from './faults.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(randomInt(1, 1_000_000)) },
    minutes: { type: 'string', default: '10' },
    only: { type: 'string', multiple: true },
  },
});
const kinds = Object.keys(FAULTS);
const unknown = values.only?.filter((kind) => !kinds.includes(kind)) ?? [];
if (unknown.length > 0) {
  console.error(`No fault is called ${unknown.join(', ')}. There are: ${kinds.join('; ')}.`);
  process.exit(2);
}
const minutes = Number(values.minutes);
const report = await runChaos({
  seed: Number(values.seed),
  seconds: minutes * 60,
  faults: values.only ?? kinds,
  say: (line) => console.log(line),
});
for (const [kind, count] of report.strikes) console.log(`${String(count).padStart(5)}  ${kind}`);
for (const [what, count] of Object.entries(report.summary)) console.log(`${String(count).padStart(7)}  ${what}`);
const missing = [...report.strikes].filter(([, count]) => count === 0).map(([kind]) => kind);
if (minutes >= 10 && missing.length > 0) report.violations.push(`Never struck: ${missing.join(', ')}.`);
for (const violation of report.violations) console.log(`VIOLATION  ${violation}`);
console.log(
  report.violations.length === 0
    ? `No violation. Again: npm run test:chaos -- --seed ${values.seed} --minutes ${values.minutes}`
    : `${report.violations.length} violations. Again: npm run test:chaos -- --seed ${values.seed} --minutes ${values.minutes}`,
);
process.exitCode = report.violations.length === 0 ? 0 : 1;
