// The figures in docs/decisions.md of what slot and outbox cost are those of docs/performance.md and docs/scaling.md, by the recorded runs.
// After a new run: npm run snapshots

import { expect, test } from 'vitest';
import { costRows, type Recording, triggerRows } from '../../bench/performance-page.ts';
import { measuredRows } from '../../bench/scaling-page.ts';
import { pathOf, read, table, withGenerated } from './document.ts';

const PAGE = 'docs/decisions.md';
const performance: Recording = JSON.parse(read('bench/results.json'));
const scaling: Recording = JSON.parse(read('bench/scaling.json'));

test('the page says what slot and outbox cost by the recorded runs', async () => {
  const measured = new Map(measuredRows(scaling).map(([, what = '', figure = '']) => [what, figure]));
  const costs = new Map(costRows(performance).map(([what = '', figure = '']) => [what, figure]));
  const updates = new Map(triggerRows(performance).map(([triggers = '', rate = '']) => [triggers, rate]));
  const of = (figures: ReadonlyMap<string, string>, what: string) => {
    const figure = figures.get(what);
    if (!figure) throw new Error(`Nothing is measured that is called “${what}”.`);
    return figure;
  };
  const reader = [
    ['1,000 changes of a backlog', of(measured, '1,000 changes of a backlog, all rows')],
    ['1,000 changes as they come', of(measured, '1,000 changes as they come, within a second, all rows')],
    ['1 MB of WAL of other tables', of(measured, '1 MB of WAL of other tables, transactions of one row')],
  ];
  const outbox = [
    ['Single-row updates a second, with no trigger and with these', `${of(updates, 'None')}, ${of(updates, 'These')}`],
    ...[
      'WAL of the UPDATE and its commit alone, bytes',
      'WAL that the trigger adds (revision and outbox row), bytes',
      'WAL of the connector’s records, bytes',
    ].map((what) => [what, of(costs, what)]),
    ...['`fhir_outbox`, with indexes', '`fhir_processed_event`, with indexes'].map((what) => [
      `${what}, bytes a change`,
      of(measured, what),
    ]),
  ];
  const page = withGenerated(PAGE, {
    reader: table(['A reader’s walsender', 'ms of CPU'], reader),
    outbox: table(['What it costs', ''], outbox),
  });
  await expect(page).toMatchFileSnapshot(pathOf(PAGE));
});
