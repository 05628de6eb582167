// Catch-up: the outbox is the truth, so what a new slot will not send is read from the table and delivered first.
import { sql } from 'kysely';
import type { Logger } from 'pino';
import type { Metrics } from '../metrics/metrics.ts';
import { untilAborted } from '../pause.ts';
import type { Identity } from '../replication/connection.ts';
import type { CatchUpHooks } from '../replication/tenure.ts';
import type { Database } from './database.ts';
import { deliveriesOf } from './delivery.ts';
import type { ParsedEvent } from './event.ts';
import type { Outbox } from './outbox.ts';
import { persistently } from './persistence.ts';
import type { OutboxReader } from './reader.ts';

const CHUNK_ROWS = 500;
const FETCH_ROWS = 10_000;
const FROM_TABLE = { committedAt: null, endLsn: null };

export class CatchUp implements CatchUpHooks {
  readonly #db: Database;
  readonly #slot: string;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  /** Ids of unprocessed rows, patient by patient, each patient's by revision; `#starts` are the first indexes of patients. */
  #ids: number[] = [];
  #starts: number[] = [];

  constructor(db: Database, slot: string, metrics: Metrics, log: Logger) {
    this.#db = db;
    this.#slot = slot;
    this.#metrics = metrics;
    this.#log = log;
  }

  async isDue(identity: Identity): Promise<boolean> {
    const row = await this.#db
      .selectFrom('fhir_slot')
      .selectAll()
      .where('slot_name', '=', this.#slot)
      .executeTakeFirst();
    return (
      !row?.caught_up_at || row.system_identifier !== identity.systemIdentifier || row.timeline !== identity.timeline
    );
  }

  async markDue(): Promise<void> {
    await sql`INSERT INTO fhir_slot (slot_name, caught_up_at) VALUES (${this.#slot}, NULL)
              ON CONFLICT (slot_name) DO UPDATE SET caught_up_at = NULL`.execute(this.#db);
  }

  /** https://www.postgresql.org/docs/current/sql-set-transaction.html : an exported snapshot needs a new REPEATABLE READ transaction. */
  async collect(snapshot: string | null): Promise<void> {
    this.#ids = [];
    this.#starts = [];
    await this.#db
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute(async (transaction) => {
        if (snapshot) await sql`SET TRANSACTION SNAPSHOT ${sql.lit(snapshot)}`.execute(transaction);
        await sql`DECLARE unprocessed CURSOR FOR
          SELECT id::float8 AS id, coalesce(patient_id, 0) AS patient_id FROM fhir_outbox
           WHERE NOT processed ORDER BY coalesce(patient_id, 0), patient_revision, id`.execute(transaction);
        let patient: number | null = null;
        for (;;) {
          const { rows } = await sql<{
            id: number;
            patient_id: number;
          }>`FETCH ${sql.lit(FETCH_ROWS)} FROM unprocessed`.execute(transaction);
          if (rows.length === 0) return;
          for (const row of rows) {
            if (row.patient_id !== patient) this.#starts.push(this.#ids.length);
            patient = row.patient_id;
            this.#ids.push(row.id);
          }
        }
      });
  }

  /** Delivers what was collected (until `signal` is aborted: the slot is lost), then remembers that this system and timeline are caught up. */
  async run(outbox: Outbox, reader: OutboxReader, identity: Identity, signal: AbortSignal): Promise<void> {
    this.#metrics.catchUps.inc();
    this.#log.info({ rows: this.#ids.length }, 'Catching up: delivering the outbox rows that the slot will not send.');
    const done: Promise<void>[] = [];
    for (const ids of chunksOfPatients(this.#ids, this.#starts)) {
      const rows = await untilAborted(reader.rows(ids, null), signal);
      await untilAborted(enterRows(outbox, rows, done, signal), signal);
    }
    await untilAborted(Promise.all(done), signal);
    await persistently(
      () =>
        sql`INSERT INTO fhir_slot (slot_name, system_identifier, timeline, caught_up_at)
              VALUES (${this.#slot}, ${identity.systemIdentifier}, ${identity.timeline}, now())
              ON CONFLICT (slot_name) DO UPDATE SET system_identifier = EXCLUDED.system_identifier,
                timeline = EXCLUDED.timeline, caught_up_at = EXCLUDED.caught_up_at`.execute(this.#db),
      this.#log,
      signal,
    );
    this.#log.info({ rows: this.#ids.length }, 'Caught up.');
    this.#ids = [];
    this.#starts = [];
  }
}

/**
 * The sweep: rows committed before the slot became ours that the stream has passed and nobody has in a lane were
 * skipped by the slot (advanced or made anew by hand). They are counted, told and delivered.
 */
export async function sweepSkippedRows(
  db: Database,
  outbox: Outbox,
  reader: OutboxReader,
  snapshotAtConnect: string,
  metrics: Metrics,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const inLanes = outbox.rowsInLanes();
  const { rows } = await persistently(
    () =>
      sql<{ id: number; patient_id: number }>`
    SELECT id::float8 AS id, coalesce(patient_id, 0) AS patient_id FROM fhir_outbox
     WHERE NOT processed AND NOT (id = ANY (${inLanes}::bigint[]))
       AND pg_visible_in_snapshot(txid::text::xid8, ${snapshotAtConnect}::pg_snapshot)
     ORDER BY coalesce(patient_id, 0), patient_revision, id`.execute(db),
    log,
    signal,
  );
  if (rows.length === 0) return;
  log.warn({ rows: rows.length }, 'The slot had skipped outbox rows (was it advanced by hand?); delivering them.');
  metrics.skippedRows.inc(rows.length);
  const ids = rows.map(({ id }) => id);
  const starts = [...rows.keys()].filter((index) => rows[index]?.patient_id !== rows[index - 1]?.patient_id);
  const done: Promise<void>[] = [];
  for (const chunk of chunksOfPatients(ids, starts)) {
    await enterRows(outbox, await reader.rows(chunk, null), done, signal);
  }
  await Promise.all(done);
}

/** Chunks of about CHUNK_ROWS ids, a patient's never in two; `starts` are the indexes at which a patient's begin. */
function* chunksOfPatients(ids: readonly number[], starts: readonly number[]): Generator<number[]> {
  let from = 0;
  for (const start of [...starts.slice(1), ids.length]) {
    if (start - from < CHUNK_ROWS && start < ids.length) continue;
    if (start > from) yield ids.slice(from, start);
    from = start;
  }
}

async function enterRows(
  outbox: Outbox,
  rows: readonly ParsedEvent[],
  done: Promise<void>[],
  signal: AbortSignal,
): Promise<void> {
  const deliveries = runs(rows).flatMap((run) => deliveriesOf(run, FROM_TABLE, () => null));
  await outbox.load(deliveries);
  await outbox.enter(deliveries, done, signal);
}

/** Rows of one transaction whose revisions of one patient are adjacent; after a move to another cluster txids begin again. */
function runs(rows: readonly ParsedEvent[]): ParsedEvent[][] {
  const ordered = rows.toSorted((a, b) => patientOf(a) - patientOf(b) || revisionOf(a) - revisionOf(b));
  const result: ParsedEvent[][] = [];
  let last: ParsedEvent | null = null;
  for (const row of ordered) {
    const together =
      last?.ok &&
      row.ok &&
      last.event.txid === row.event.txid &&
      patientOf(last) === patientOf(row) &&
      row.event.revision === last.event.revision + 1;
    if (together) result.at(-1)?.push(row);
    else result.push([row]);
    last = row;
  }
  return result;
}

function patientOf(row: ParsedEvent): number {
  return row.ok ? (row.event.patientId ?? 0) : 0;
}

function revisionOf(row: ParsedEvent): number {
  return row.ok ? row.event.revision : 0;
}
