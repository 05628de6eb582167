// Runs sql/test_events.sql as a person would with psql -f, and shows after each step what became of it.

import { readFile } from 'node:fs/promises';
import { styleText } from 'node:util';
import type pg from 'pg';
import { tableLines } from '../src/cli/output.ts';
import type { LiveView, Say } from './live-view.ts';
import { statementsOf, withoutComments } from './script.ts';

const MAX_SQL = 116;

/** A step begins with a SELECT of its title, outside of a transaction, in a column called step. */
export async function runTestEvents(
  client: pg.ClientBase,
  view: LiveView,
  say: Say,
  signal: AbortSignal,
): Promise<void> {
  const file = new URL('../sql/test_events.sql', import.meta.url);
  let inTransaction = false;
  let wrote = false;
  let shown = view.shown;
  const endStep = async () => {
    await view.settle(signal);
    if (wrote && view.shown === shown) say('       no outbox row, so nothing to deliver');
    wrote = false;
    shown = view.shown;
  };
  for (const statement of statementsOf(await readFile(file, 'utf8'))) {
    signal.throwIfAborted();
    const { command, fields, rows } = await client.query<Record<string, string>>(statement);
    const title = rows[0]?.step;
    if (title !== undefined) {
      if (inTransaction) continue;
      await endStep();
      say(`\n${styleText('bold', title)}`);
      continue;
    }
    if (command === 'BEGIN') inTransaction = true;
    if (command === 'COMMIT' || command === 'ROLLBACK') inTransaction = false;
    wrote ||= !['SELECT', 'SET', 'RESET'].includes(command);
    const sql = `> ${withoutComments(statement)}`;
    say(styleText('dim', sql.length > MAX_SQL ? `${sql.slice(0, MAX_SQL - 1)}…` : sql));
    if (command === 'SELECT' && rows.length > 0) {
      const names = fields.map(({ name }) => name);
      for (const line of tableLines(
        names,
        rows.map((row) => names.map((name) => row[name])),
      ))
        say(`       ${line}`);
    }
  }
  await endStep();
}
