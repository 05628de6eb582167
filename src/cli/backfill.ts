// `backfill`: sends the patients that were there before the triggers, and says how far it has come.
import type { Command } from 'commander';
import { databaseSchema, readConfig } from '../config.ts';
import { type BackfillRun, backfill } from '../outbox/backfill.ts';
import { asOperator, Interrupted } from './operator.ts';
import { createProgress } from './progress.ts';
import { sentenceOf } from './waits.ts';

interface BackfillOptions {
  readonly all: boolean;
  readonly restart: boolean;
}

export function addBackfillCommand(program: Command): void {
  program
    .command('backfill')
    .description('send the patients that were there before the triggers; goes on where an earlier one ended')
    .option('--all', 'every patient, not only those that never reached the FHIR server', false)
    .option('--restart', 'begin anew instead of going on', false)
    .action(backfillCommand);
}

/** Ends with status 0 when all are emitted. Throws a FatalError on what an operator has to mend. */
async function backfillCommand({ all, restart }: BackfillOptions): Promise<void> {
  const config = readConfig(databaseSchema, process.env);
  const progress = createProgress();
  let run: BackfillRun | null = null;
  let from = 0;
  const show = (moved: BackfillRun) => {
    run = moved;
    progress.update('Emitting', moved.position - from, moved.upperBound - from, `${moved.emitted} patients emitted`);
  };
  try {
    const finished = await asOperator(config, 'backfill', (db, signal) =>
      backfill(
        db,
        { everyone: all, restart },
        {
          started(begun, resumed) {
            if (resumed)
              say(
                `Going on with the backfill of ${begun.startedAt.toISOString()}: ${begun.emitted} patients emitted so far.`,
              );
            from = Math.min(begun.position, begun.upperBound);
            show(begun);
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
    const { emitted = 0 } = run ?? {};
    say(`Stopped after ${emitted} patients. Another backfill goes on from here.`);
    process.exitCode = 1;
  }
}

function summary({ everyone, emitted }: BackfillRun): string {
  if (emitted === 0)
    return everyone
      ? 'There is no patient.'
      : 'There was nothing to emit: every patient has a resource, is on its way, or is a dead letter (see dlq list).';
  return `Emitted ${emitted} patients. The connector delivers the last of them; verify tells whether all have arrived.`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
