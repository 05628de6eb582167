// npm run bench -- [--short] [--runs N] [--only drain0,bulk] [--json FILE] [--gate]
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { againstRecorded } from './gate.ts';
import { thisMachine } from './machine.ts';
import { resultsOf, short, table } from './report.ts';
import { type Measurements, run } from './run.ts';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    runs: { type: 'string', default: '1' },
    only: { type: 'string' },
    json: { type: 'string' },
    gate: { type: 'boolean', default: false },
  },
});
const count = Number(values.runs);
if (!Number.isInteger(count) || count < 1) {
  console.error('--runs must be a whole number, 1 at least.');
  process.exit(2);
}

const machine = thisMachine();
console.log(
  `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGB} GB, Node ${machine.node}; load before: ${machine.load}`,
);
const runs: Measurements[] = [];
for (let n = 1; n <= count; n += 1) {
  if (count > 1) console.log(`\nRun ${n} of ${count}`);
  const told = (workload: string, figures: object) => console.log(`${workload}: ${flat(figures)}`);
  runs.push(await run({ short: values.short, only: values.only?.split(','), told }));
}
const results = resultsOf(runs);
console.log(`\n${table(results)}`);
if (values.json) writeFileSync(values.json, `${JSON.stringify({ machine, runs }, null, 2)}\n`);
if (values.gate) {
  const recorded = JSON.parse(readFileSync(new URL('./recorded.json', import.meta.url), 'utf8'));
  const losses = againstRecorded(results, recorded);
  for (const loss of losses) console.log(loss);
  console.log(losses.length === 0 ? 'Nothing is slower than it was by a factor of two.' : '');
  process.exitCode = losses.length === 0 ? 0 : 1;
}

function flat(figures: object): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${typeof value === 'number' ? short(value) : `(${flat(value)})`}`)
    .join(', ');
}
