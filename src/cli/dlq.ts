// `dlq`: what an operator does with dead letters. Exit status: 0 done, 1 refused or failed, 2 some ids were not open.
import { Argument, type Command, Option } from 'commander';
import type pg from 'pg';
import { databaseSchema } from '../config/environment.ts';
import { readConfig } from '../config/read.ts';
import { FatalError } from '../fatal.ts';
import {
  DEAD_LETTER_STATES,
  discardDeadLetters,
  listDeadLetters,
  type Resolution,
  readDeadLetter,
  replayableDeadLetters,
  replayDeadLetters,
  unresolvedOf,
} from '../outbox/operator/dead-letters.ts';
import { confirm } from './confirm.ts';
import { withConnection } from './connection.ts';
import { detailsText, listText, resolutionsText } from './dlq-text.ts';
import { asJson, jsonOption } from './output.ts';
import { wholeNumber } from './whole-number.ts';

const NOT_ALL_DONE = 2;

interface Output {
  readonly json?: boolean;
}

interface ListOptions extends Output {
  readonly state: (typeof DEAD_LETTER_STATES)[number] | 'all';
  readonly limit: number;
}

interface Decision extends Output {
  readonly reason?: string;
  readonly yes?: boolean;
}

export function addDlqCommands(program: Command): void {
  const dlq = program
    .command('dlq')
    .summary('Lists, explains, replays and discards dead letters.')
    .description('Lists, explains, replays and discards dead letters. DB_USER has to be in the role fhir_operator.');
  const yes = () => new Option('--yes', 'Answers yes instead of asking.');

  dlq
    .command('list')
    .description('Lists dead letters, the oldest first, and counts them. It never shows patient data.')
    .addOption(
      new Option('--state <state>', 'Which ones.').choices([...DEAD_LETTER_STATES, 'all']).default('unresolved'),
    )
    .addOption(new Option('--limit <number>', 'How many at most.').argParser(wholeNumber).default(100))
    .addOption(jsonOption())
    .action(list);
  dlq
    .command('show')
    .addArgument(new Argument('<id>', 'Of the dead letter, as `dlq list` shows it.').argParser(wholeNumber))
    .description('Shows all about one dead letter. It never shows patient data.')
    .addOption(jsonOption())
    .action(show);
  dlq
    .command('replay')
    .addArgument(new Argument('[ids...]', 'Of the dead letters.').argParser(andWholeNumber))
    .description('Sends the current state of their rows again.')
    .option('--all', 'Replays all that are unresolved; it needs a reason.')
    .option('--reason <text>', 'Why; it is kept with the dead letter.')
    .addOption(yes())
    .addOption(jsonOption())
    .action(replay);
  dlq
    .command('discard')
    .addArgument(new Argument('<ids...>', 'Of the dead letters.').argParser(andWholeNumber))
    .description('Settles them without sending anything: the FHIR server keeps what it has.')
    .requiredOption('--reason <text>', 'Why; it is kept with the dead letter.')
    .addOption(yes())
    .addOption(jsonOption())
    .action(discard);
}

async function list({ state, limit, json }: ListOptions): Promise<void> {
  const found = await connected((client) => listDeadLetters(client, state, limit));
  const width = process.stdout.isTTY ? process.stdout.columns : null;
  process.stdout.write(json ? asJson(found) : listText(found, state, width));
}

async function show(id: number, { json }: Output): Promise<void> {
  const found = await connected((client) => readDeadLetter(client, id));
  if (!found) throw new FatalError(`There is no dead letter ${id}: \`dlq list --state all\` shows which there are.`);
  process.stdout.write(json ? asJson(found) : detailsText(found));
}

async function replay(
  asked: readonly number[] = [],
  { all = false, reason, yes, json }: Decision & { readonly all?: boolean },
): Promise<void> {
  if (all === asked.length > 0) throw new FatalError('Name the dead letters to replay, or say --all: one of the two.');
  if (all && !reason?.trim()) throw new FatalError('--all needs a reason, which is kept: --reason "…".');
  await connected(async (client) => {
    const ids = all ? await replayableDeadLetters(client) : asked;
    if (all && !yes && ids.length > 0)
      await confirm(`Send the current state of the rows of all ${ids.length} unresolved dead letters?`);
    const resolutions: Resolution[] = [];
    try {
      for await (const some of replayDeadLetters(client, ids, reason?.trim() || null)) resolutions.push(...some);
    } finally {
      const rows = resolutions.flatMap(({ result, source }) => (result === 'replayed' ? (source ?? []) : []));
      const stillOpen = rows.length > 0 ? await unresolvedOf(client, rows).catch(() => 0) : 0;
      // Also when it failed half-way: what was replayed is committed.
      if (json) process.stdout.write(asJson({ deadLetters: resolutions, stillOpen }));
      else if (ids.length === 0) process.stdout.write('There are no unresolved dead letters that could be replayed.\n');
      else if (resolutions.length > 0) process.stdout.write(resolutionsText('replayed', resolutions, stillOpen));
    }
    setExitStatus('replayed', resolutions);
  });
}

async function discard(
  ids: readonly number[],
  { reason, yes, json }: Decision & { readonly reason: string },
): Promise<void> {
  if (!reason.trim()) throw new FatalError('Discarding needs a reason, which is kept: --reason "…".');
  if (!yes) await confirm(`Discard ${ids.length === 1 ? 'this dead letter' : `these ${ids.length} dead letters`}?`);
  const resolutions = await connected((client) => discardDeadLetters(client, ids, reason.trim()));
  process.stdout.write(json ? asJson({ deadLetters: resolutions }) : resolutionsText('discarded', resolutions, 0));
  setExitStatus('discarded', resolutions);
}

function connected<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  return withConnection(readConfig(databaseSchema, process.env), 'dlq', work);
}

function setExitStatus(done: Resolution['result'], resolutions: readonly Resolution[]): void {
  if (resolutions.some(({ result }) => result !== done)) process.exitCode = NOT_ALL_DONE;
}

function andWholeNumber(text: string, before: readonly number[] = []): number[] {
  return [...new Set([...before, wholeNumber(text)])];
}
