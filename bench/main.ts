// Measures the connector, and says how fast it is and what it costs:
// npm run bench -- [--short] [--runs N] [--only drain0,bulk] [--json FILE] [--record] [--gate]; npm run bench -- --profile [--json FILE]
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Arena } from './arena.ts';
import { againstRecorded, toRecord } from './gate.ts';
import { thisMachine } from './machine.ts';
import { wholeNumber } from './options.ts';
import { type Shares, sharesOf } from './profile.ts';
import { resultsOf, short, table } from './report.ts';
import { type Measurements, run } from './run.ts';
import { drain } from './workloads/drain.ts';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    runs: { type: 'string', default: '1' },
    only: { type: 'string' },
    json: { type: 'string' },
    gate: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
  },
});
const RECORDED = new URL('./recorded.json', import.meta.url);
const count = wholeNumber('runs', values.runs);

const machine = thisMachine();
console.log(
  `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGB} GB, Node ${machine.node}; load before: ${machine.load}`,
);
if (values.profile) {
  const shares = await profileOfDrain();
  for (const [owner, share] of Object.entries(shares))
    console.log(`${(100 * share).toFixed(1).padStart(5)} %  ${owner}`);
  if (values.json) writeFileSync(values.json, `${JSON.stringify(shares, null, 2)}\n`);
  process.exit();
}
const runs: Measurements[] = [];
for (let n = 1; n <= count; n += 1) {
  if (count > 1) console.log(`\nRun ${n} of ${count}`);
  const told = (workload: string, figures: object) => console.log(`${workload}: ${flat(figures)}`);
  runs.push(await run({ short: values.short, only: values.only?.split(','), told }));
  // After each, for the whole form takes long.
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ machine, runs }, null, 2)}\n`);
}
const results = resultsOf(runs);
console.log(`\n${table(results)}`);
if (values.record) writeFileSync(RECORDED, `${JSON.stringify(toRecord(results), null, 2)}\n`);
if (values.gate) {
  const recorded = JSON.parse(readFileSync(RECORDED, 'utf8'));
  const losses = againstRecorded(results, recorded);
  for (const loss of losses) console.log(loss);
  console.log(losses.length === 0 ? 'Nothing is slower than it was by a factor of two.' : '');
  process.exitCode = losses.length === 0 ? 0 : 1;
}

/** Of a drain, sink 0 ms, 32 wide. */
async function profileOfDrain(): Promise<Shares> {
  const profileTo = mkdtempSync(join(tmpdir(), 'fhir-connector-profile-'));
  const arena = await Arena.open();
  try {
    await drain(arena, { transactions: 40_000, latencyMs: 0, width: 32, profileTo });
    return sharesOf(profileTo);
  } finally {
    await arena.close();
    rmSync(profileTo, { recursive: true });
  }
}

function flat(figures: object): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${typeof value === 'number' ? short(value) : `(${flat(value)})`}`)
    .join(', ');
}
