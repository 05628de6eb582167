// `backfill`: sends the rows that were there before the triggers, and says how far it has come.
import type { Command } from 'commander';
import { databaseSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { type BackfillRun, backfill } from '../outbox/operator/backfill.ts';
import { asOperator, Interrupted } from './operator.ts';
import { counted, say } from './output.ts';
import { createProgress } from './progress.ts';
import { sentenceOf } from './waits.ts';

interface BackfillOptions {
  readonly all?: boolean;
  readonly restart?: boolean;
}

export function addBackfillCommand(program: Command): void {
  program
    .command('backfill')
    .summary('Sends the rows that were in the tables before their triggers.')
    .description(
      'Sends the rows that were in the tables before their triggers, and goes on where an earlier backfill ended. A running connector delivers them. DB_USER has to be in the role fhir_operator.',
    )
    .option('--all', 'Sends every row, not only those that never reached the FHIR server.')
    .option('--restart', 'Begins anew instead of going on.')
    .action(backfillCommand);
}

/** Ends with status 0 when all are emitted. Throws a FatalError on what an operator has to mend. */
async function backfillCommand({ all = false, restart = false }: BackfillOptions): Promise<void> {
  const config = readConfig(databaseSchema, process.env);
  const progress = createProgress();
  const runs = new Map<string, { readonly from: number; readonly run: BackfillRun }>();
  const show = (run: BackfillRun) => {
    const from = runs.get(run.table)?.from ?? Math.min(run.position, run.upperBound);
    runs.set(run.table, { from, run });
    // Nothing where the first step was the last one, or the table is empty.
    const total = run.upperBound - from || null;
    progress.update(`Emitting ${run.table}`, run.position - from, total, `${counted(run.emitted, 'row')} emitted`);
  };
  try {
    const finished = await asOperator(config, 'backfill', (db, signal) =>
      backfill(
        db,
        { everyone: all, restart },
        {
          started(begun, resumed) {
            const [first] = begun;
            if (resumed && first)
              say(
                `Going on with the backfill of ${first.startedAt.toISOString()}: ${totalOf(begun)} rows emitted so far.`,
              );
            runs.clear();
          },
          moved: show,
          waiting: (wait) => progress.waiting(sentenceOf(wait)),
        },
        signal,
      ),
    );
    progress.end();
    say(summary(finished));
  } catch (error) {
    progress.end();
    if (!(error instanceof Interrupted)) throw error;
    const emitted = totalOf([...runs.values()].map(({ run }) => run));
    say(`Stopped after ${emitted} rows. Another backfill goes on from here.`);
    process.exitCode = 1;
  }
}

function totalOf(runs: readonly BackfillRun[]): number {
  return runs.reduce((sum, { emitted }) => sum + emitted, 0);
}

function summary(runs: readonly BackfillRun[]): string {
  if (totalOf(runs) === 0)
    return runs.some(({ everyone }) => everyone)
      ? 'There is no row.'
      : 'There was nothing to emit: every row has a resource, is on its way, or is a dead letter (see dlq list).';
  const counts = runs.filter(({ emitted }) => emitted > 0).map(({ table, emitted }) => `${emitted} of ${table}`);
  return `Emitted ${counts.join(', ')}. The connector delivers the last of them; verify tells whether all have arrived.`;
}
