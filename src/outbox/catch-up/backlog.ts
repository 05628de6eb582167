// The backlog: outbox rows that the slot will not send, in the order in which they are to be delivered.
import { type RawBuilder, sql } from 'kysely';
import { untilAborted } from '../../pause.ts';
import { filterOf, type Shard } from '../../shard.ts';
import { deliveriesOf } from '../delivery/delivery.ts';
import { Completion } from '../lanes/completion.ts';
import type { Scheduler } from '../lanes/scheduler.ts';
import type { Database } from '../tables/database.ts';
import { PATIENT_TABLES } from '../tables/patient-tables.ts';
import type { OutboxReader } from '../tables/reader.ts';

const CHUNK_ROWS = 500;
const FETCH_ROWS = 10_000;
const FROM_TABLE = { committedAt: null, endLsn: null };

export interface Backlog {
  readonly ids: readonly number[];
  /** For each id the last one of its transaction: equal for the rows of one transaction. */
  readonly transactions: readonly number[];
  /** The first indexes of a patient within a transaction. */
  readonly starts: readonly number[];
}

export const NOTHING: Backlog = { ids: [], transactions: [], starts: [] };

/** What delivers them: the engine. */
export interface CatchUpEngine {
  readonly scheduler: Scheduler;
  readonly reader: OutboxReader;
}

/**
 * The table does not hold the order of the commits, but ids know enough of it. Who changes a patient after another one,
 * or takes an identifier that another patient gave up, had to wait for that commit before it got its ids. So transactions
 * come in the order of their last ids; within one, as in a spilled transaction, patients that were there before go before
 * new ones. (txids begin again in another cluster; created_at, when the transaction began, tells the two apart.)
 */
export async function readBacklog(
  transaction: Database,
  shard: Shard,
  condition: RawBuilder<boolean> = sql`true`,
): Promise<Backlog> {
  const backlog = { ids: [] as number[], transactions: [] as number[], starts: [] as number[] };
  await sql`DECLARE backlog NO SCROLL CURSOR FOR
    SELECT id::float8 AS id, last::float8 AS last, coalesce(patient_id, 0) AS patient_id
      FROM (SELECT id, patient_id, last,
                   first_value(table_name = 'patient' AND operation = 'I')
                     OVER (PARTITION BY txid, created_at, patient_id ORDER BY table_name NOT IN ${PATIENT_TABLES}, id) AS is_new
              FROM (SELECT id, txid, created_at, table_name, operation, max(id) OVER (PARTITION BY txid, created_at) AS last,
                           -- Of a form or reading that goes from one patient to another, all rows are of the last one.
                           CASE WHEN table_name IN ${PATIENT_TABLES} THEN patient_id
                                ELSE first_value(patient_id)
                                       OVER (PARTITION BY txid, created_at, table_name, record_id ORDER BY id DESC) END AS patient_id
                      FROM fhir_outbox WHERE NOT processed AND ${sql.raw(filterOf(shard))} AND ${condition}) AS owned) AS unprocessed
     ORDER BY last, is_new, patient_id, id`.execute(transaction);
  for (let before = { last: 0, patient_id: -1 }; ; ) {
    const { rows } = await sql<{ id: number; last: number; patient_id: number }>`
      FETCH ${sql.lit(FETCH_ROWS)} FROM backlog`.execute(transaction);
    if (rows.length === 0) return backlog;
    for (const row of rows) {
      if (row.last !== before.last || row.patient_id !== before.patient_id) backlog.starts.push(backlog.ids.length);
      backlog.ids.push(row.id);
      backlog.transactions.push(row.last);
      before = row;
    }
  }
}

/** Resolves when all is delivered and recorded. */
export async function deliver(
  backlog: Backlog,
  { scheduler, reader }: CatchUpEngine,
  signal: AbortSignal,
): Promise<void> {
  const done = new Completion();
  for (const [from, to] of chunks(backlog)) {
    const rows = await untilAborted(reader.rows(backlog.ids.slice(from, to), null), signal);
    const byId = new Map(rows.map((row) => [row.ok ? row.event.id : row.id, row]));
    const indexes = Array.from({ length: to - from }, (_, offset) => from + offset);
    const deliveries = [...Map.groupBy(indexes, (index) => backlog.transactions[index]).values()].map((transaction) => {
      // A row may have been removed meanwhile.
      const events = transaction.flatMap((index) => byId.get(backlog.ids[index] ?? 0) ?? []);
      return deliveriesOf(events, FROM_TABLE, () => null);
    });
    await untilAborted(scheduler.scheduleStored(deliveries, done, signal), signal);
  }
  await untilAborted(done.all(), signal);
}

/** Ranges of about CHUNK_ROWS indexes that never split a patient's rows of one transaction. */
function* chunks({ ids, starts }: Backlog): Generator<[number, number]> {
  let from = 0;
  for (const start of [...starts.slice(1), ids.length]) {
    if (start - from < CHUNK_ROWS && start < ids.length) continue;
    if (start > from) yield [from, start];
    from = start;
  }
}
