// `verify`: compares the database with the FHIR server. Status 0: no drift. 1: drift is left. 2: it could not be verified.
import { randomInt } from 'node:crypto';
import { type Command, Option } from 'commander';
import { databaseSchema, fhirSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { lastWords } from '../privacy/last-words.ts';
import { type Verification, type VerifyWatcher, verify } from '../verify/verify.ts';
import { openFhirClient } from './open-fhir-client.ts';
import { asOperator, Interrupted } from './operator.ts';
import { jsonOption } from './output.ts';
import { createProgress } from './progress.ts';
import { report } from './verify-report.ts';
import { sentenceOf } from './waits.ts';
import { postgresInteger } from './whole-number.ts';

interface VerifyOptions {
  readonly sample?: number;
  readonly seed?: number;
  readonly repair?: boolean;
  readonly json?: boolean;
}

const STEPS: Readonly<Record<Parameters<VerifyWatcher['progress']>[0], string>> = {
  comparing: 'Comparing',
  listing: 'Listing resources of',
  repairing: 'Emitting again',
  settling: 'Waiting for changes on their way of',
};
const DRIFT = 1;
const NOT_VERIFIED = 2;

const schema = databaseSchema.extend(fhirSchema.shape);

export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .summary('Compares the database with the FHIR server.')
    .description(
      'Compares the database with the FHIR server, both ways. Exit status: 0 without drift, 1 with drift, 2 where it could not be told. DB_USER has to be in the role fhir_operator.',
    )
    .addOption(
      new Option('--sample <number>', 'Only so many rows of each table, at random.').argParser(postgresInteger),
    )
    .addOption(
      new Option('--seed <number>', 'The same rows as another sample with this seed.').argParser(postgresInteger),
    )
    .option('--repair', 'Sends the current state of what differs again.')
    .addOption(jsonOption())
    // Commander's own status for a mistyped option is that of drift.
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : NOT_VERIFIED))
    .action(verifyCommand);
}

/** Throws nothing: whatever keeps it from an answer is said, and ends with a status that is not that of drift. */
async function verifyCommand({ sample, seed, repair = false, json = false }: VerifyOptions): Promise<void> {
  const progress = createProgress();
  try {
    const config = readConfig(schema, process.env);
    const fhir = openFhirClient(config, { writes: false, deletes: false });
    const settings = {
      sample: sample ?? null,
      seed: seed ?? randomInt(1, 2 ** 31),
      repair,
      profile: config.FHIR_PROFILE,
      concurrency: config.FHIR_CONCURRENCY,
    };
    const watcher: VerifyWatcher = {
      progress: (table, step, done, total) => progress.update(`${STEPS[step]} ${table}`, done, total),
      waiting: (wait) => progress.waiting(sentenceOf(wait)),
    };
    const result = await asOperator(config, 'verify', (db, signal) =>
      verify(db, fhir, settings, watcher, signal),
    ).finally(() => fhir.close());
    progress.end();
    process.stdout.write(report(result, settings, json));
    process.exitCode = statusOf(result);
  } catch (error) {
    progress.end();
    process.stderr.write(
      error instanceof Interrupted ? 'Stopped before the end: nothing was verified.\n' : lastWords(error),
    );
    process.exitCode = NOT_VERIFIED;
  }
}

function statusOf({ tables }: Verification): number {
  if (tables.some(({ drift }) => drift.length > 0)) return DRIFT;
  return tables.some(({ undecided, unreadable }) => undecided.length + unreadable.length > 0) ? NOT_VERIFIED : 0;
}
