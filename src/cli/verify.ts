// `verify`: compares the database with the FHIR server. Status 0: no drift. 1: drift is left. 2: it could not be verified.
import { randomInt } from 'node:crypto';
import { type Command, InvalidArgumentError } from 'commander';
import { databaseSchema, fhirSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { FatalError } from '../fatal.ts';
import { errorCode } from '../postgres/errors.ts';
import { placeOf } from '../privacy/last-words.ts';
import { type Verification, type VerifyWatcher, verify } from '../verify/verify.ts';
import { openFhirClient } from './open-fhir-client.ts';
import { asOperator, Interrupted } from './operator.ts';
import { createProgress } from './progress.ts';
import { report } from './verify-report.ts';
import { sentenceOf } from './waits.ts';

interface VerifyOptions {
  readonly sample?: number;
  readonly seed?: number;
  readonly repair: boolean;
  readonly json: boolean;
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
    .description(
      'compare the database with the FHIR server: status 0 without drift, 1 with, 2 when it could not be told',
    )
    .option('--sample <number>', 'only so many rows of each table, at random', wholeNumber)
    .option('--seed <number>', 'the same rows as another sample with this seed', wholeNumber)
    .option('--repair', 'send the current state of what differs again', false)
    .option('--json', 'for programs', false)
    // Commander's own status for a mistyped option is that of drift.
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : NOT_VERIFIED))
    .action(verifyCommand);
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 2 ** 31 - 1)
    throw new InvalidArgumentError('It has to be a whole number from 1 on.');
  return number;
}

/** Throws nothing: whatever keeps it from an answer is said, and ends with a status that is not that of drift. */
async function verifyCommand({ sample, seed, repair, json }: VerifyOptions): Promise<void> {
  const progress = createProgress();
  try {
    const config = readConfig(schema, process.env);
    const fhir = openFhirClient(config, { writes: false, deletes: false });
    const settings = {
      sample: sample ?? null,
      seed: seed ?? randomInt(2 ** 31),
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
    process.stderr.write(`${sentenceFor(error)}\n`);
    process.exitCode = NOT_VERIFIED;
  }
}

function statusOf({ tables }: Verification): number {
  if (tables.some(({ drift }) => drift.length > 0)) return DRIFT;
  return tables.some(({ undecided, unreadable }) => undecided.length + unreadable.length > 0) ? NOT_VERIFIED : 0;
}

function sentenceFor(error: unknown): string {
  if (error instanceof FatalError) return error.message;
  if (error instanceof Interrupted) return 'Stopped before the end: nothing was verified.';
  // A bug. Its place, not its message, which may quote a patient.
  return `The verification failed (${[errorCode(error), placeOf(error)].filter(Boolean).join(' at ')}). Please report this.`;
}
