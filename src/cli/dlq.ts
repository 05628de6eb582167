// `dlq`: what an operator does with dead letters. Exit status: 0 done, 1 refused or failed, 2 some ids were not open.
import { type Command, Option } from 'commander';
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

const ROLE = 'fhir_operator';
const NOT_ALL_DONE = 2;

interface Output {
  readonly json: boolean;
}

export function addDlqCommands(program: Command): void {
  const dlq = program
    .command('dlq')
    .description('list, understand, replay and discard dead letters (as a login in the role fhir_operator)');
  const json = () => new Option('--json', 'print JSON instead of text').default(false);
  const yes = () => new Option('--yes', 'do not ask').default(false);

  dlq
    .command('list')
    .description('the oldest first, with counts; never patient data')
    .addOption(
      new Option('--state <state>', 'which ones').choices([...DEAD_LETTER_STATES, 'all']).default('unresolved'),
    )
    .option('--limit <number>', 'how many at most', wholeNumber, 100)
    .addOption(json())
    .action(list);
  dlq
    .command('show')
    .argument('<id>', 'of the dead letter', wholeNumber)
    .description('all about one dead letter; never patient data')
    .addOption(json())
    .action(show);
  dlq
    .command('replay')
    .argument('[ids...]', 'of the dead letters')
    .description('send the current state of their rows again')
    .option('--all', 'all that are unresolved (needs a reason)', false)
    .option('--reason <text>', 'why; kept with the dead letter')
    .addOption(yes())
    .addOption(json())
    .action(replay);
  dlq
    .command('discard')
    .argument('<ids...>', 'of the dead letters')
    .description('settle them without sending anything')
    .requiredOption('--reason <text>', 'why; kept with the dead letter')
    .addOption(yes())
    .addOption(json())
    .action(discard);
}

async function list({ state, limit, json }: Output & { state: 'all'; limit: number }): Promise<void> {
  const found = await connected((client) => listDeadLetters(client, state, limit));
  const width = process.stdout.isTTY ? process.stdout.columns : null;
  print(json ? asJson(found) : listText(found, state, width));
}

async function show(id: number, { json }: Output): Promise<void> {
  const found = await connected((client) => readDeadLetter(client, id));
  if (!found) throw new FatalError(`There is no dead letter ${id}: \`dlq list --state all\` shows which there are.`);
  print(json ? asJson(found) : detailsText(found));
}

async function replay(
  texts: string[],
  { all, reason, yes, json }: Output & { all: boolean; reason?: string; yes: boolean },
): Promise<void> {
  if (all === texts.length > 0) throw new FatalError('Name the dead letters to replay, or say --all: one of the two.');
  if (all && !reason?.trim()) throw new FatalError('--all needs a reason, which is kept: --reason "…".');
  const asked = idsOf(texts);
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
      if (json) print(asJson({ deadLetters: resolutions, stillOpen }));
      else if (ids.length === 0) print('There are no unresolved dead letters that could be replayed.\n');
      else if (resolutions.length > 0) print(resolutionsText('replayed', resolutions, stillOpen));
    }
    judge('replayed', resolutions);
  });
}

async function discard(
  texts: string[],
  { reason, yes, json }: Output & { reason: string; yes: boolean },
): Promise<void> {
  if (!reason.trim()) throw new FatalError('Discarding needs a reason, which is kept: --reason "…".');
  const ids = idsOf(texts);
  if (!yes) await confirm(`Discard ${ids.length === 1 ? 'this dead letter' : `these ${ids.length} dead letters`}?`);
  const resolutions = await connected((client) => discardDeadLetters(client, ids, reason.trim()));
  print(json ? asJson({ deadLetters: resolutions }) : resolutionsText('discarded', resolutions, 0));
  judge('discarded', resolutions);
}

function connected<T>(work: Parameters<typeof withConnection<T>>[3]): Promise<T> {
  return withConnection(readConfig(databaseSchema, process.env), 'dlq', ROLE, work);
}

function judge(done: Resolution['result'], resolutions: readonly Resolution[]): void {
  if (resolutions.some(({ result }) => result !== done)) process.exitCode = NOT_ALL_DONE;
}

function idsOf(texts: readonly string[]): number[] {
  return [...new Set(texts.map(wholeNumber))];
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new FatalError(`“${text}” is no whole number greater than 0.`);
  return Number(text);
}

function asJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function print(text: string): void {
  // A reader that has seen enough, as `head` has, is no failure.
  process.stdout.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  process.stdout.write(text);
}
