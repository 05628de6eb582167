// npm run test:mutants -- [--only NAME]… [--times N]: does a test find each of the bugs that would hurt most?
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Misfit, type Mutant, type NamedTest } from './mutant.ts';
import { MUTANTS } from './mutants.ts';
import { ProjectCopy } from './project-copy.ts';
import { type Report, type Verdict, verdictOf } from './verdict.ts';

/** A test that goes red at a deadline takes a minute; beside it a server starts. */
const RUN_MS = 240_000;
const REPORT = 'mutants-report.json';

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    times: { type: 'string', default: '1' },
    /** File for the counts, as vitest's JSON reporter names them. */
    report: { type: 'string' },
  },
});
const unknown = values.only?.filter((name) => !MUTANTS.some((mutant) => mutant.name === name)) ?? [];
if (unknown.length > 0) {
  const names = MUTANTS.map(({ name }) => name).join(', ');
  console.error(`No mutant is called ${unknown.join(', ')}. There are: ${names}.`);
  process.exit(2);
}
const times = Number(values.times);
if (!(times >= 1)) {
  console.error('--times needs a number from 1 on.');
  process.exit(2);
}
const mutants = MUTANTS.filter(({ name }) => values.only?.includes(name) ?? true);

const copy = new ProjectCopy();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    copy.stop();
    copy.remove();
    process.exit(130);
  });
}

let found = 0;
let missed = 0;
try {
  if (await isGreen(mutants)) for (const mutant of mutants) await count(mutant);
  else missed = 1;
} finally {
  copy.remove();
}
if (values.report) writeFileSync(values.report, JSON.stringify({ numPassedTests: found, numFailedTests: missed }));
console.log(`${found} passed, ${missed} failed`);
process.exitCode = missed === 0 ? 0 : 1;

/** Without a bug all the tests pass; otherwise a red one would prove nothing. */
async function isGreen(all: readonly Mutant[]): Promise<boolean> {
  const started = performance.now();
  const tests = all.map(({ test }) => test);
  const report = await runTests(tests);
  const verdicts = tests.map((test) => (report instanceof Error ? unclear(report) : verdictOf(report, test)));
  const red = tests.filter((_, index) => verdicts[index]?.as !== 'green');
  for (const test of red) console.log(`Red without any mutant: ${test.file}, “${test.title}”`);
  if (report instanceof Error) console.log(report.message);
  console.log(
    red.length > 0
      ? 'These tests have to pass before a mutant can be tried out: mend them first (npm run test:postgres).'
      : `${since(started)}  without a mutant the tests are green`,
  );
  return red.length === 0;
}

async function count(mutant: Mutant): Promise<void> {
  for (let time = 0; time < times; time += 1) {
    const started = performance.now();
    const { as, why } = await tryOut(mutant);
    if (as === 'red') found += 1;
    else missed += 1;
    const what = as === 'green' ? `“${mutant.test.title}” in ${mutant.test.file} stays green. ${mutant.harm}` : why;
    console.log(`${since(started)}  ${as === 'red' ? 'found ' : 'MISSED'}  ${mutant.name}: ${what}`);
  }
}

async function tryOut(mutant: Mutant): Promise<Verdict> {
  let mend: () => void;
  try {
    mend = copy.break(mutant);
  } catch (error) {
    if (error instanceof Misfit) return unclear(error);
    throw error;
  }
  try {
    // What does not even compile would fail any test, whatever that looks at.
    const types = await copy.run(
      RUN_MS,
      'typescript/bin/tsc',
      '--noEmit',
      '--noUnusedLocals',
      'false',
      '--incremental',
      '--tsBuildInfoFile',
      'mutants.tsbuildinfo',
    );
    if (types.status !== 0) return { as: 'unclear', why: `The mutated source does not compile:\n${types.output}` };
    const report = await runTests([mutant.test]);
    return report instanceof Error ? unclear(report) : verdictOf(report, mutant.test);
  } finally {
    mend();
  }
}

async function runTests(tests: readonly NamedTest[]): Promise<Report | Error> {
  const file = copy.path(REPORT);
  rmSync(file, { force: true });
  const titles = [...new Set(tests.map(({ title }) => literally(title)))];
  const ended = await copy.run(
    RUN_MS,
    'vitest/vitest.mjs',
    ...['run', '--project', 'unit', '--project', 'postgres', '--reporter', 'json', `--outputFile=${file}`],
    ...['--testNamePattern', `^(?:${titles.join('|')})$`, ...new Set(tests.map((test) => test.file))],
  );
  if (ended.status === null) return new Error(`vitest did not end within ${RUN_MS / 1000} s.`);
  if (!existsSync(file)) return new Error(`vitest left no report:\n${ended.output}`);
  return JSON.parse(readFileSync(file, 'utf8')) as Report;
}

function unclear(error: Error): Verdict {
  return { as: 'unclear', why: error.message };
}

function since(started: number): string {
  return `${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s`;
}

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
