// Catch-up: the outbox is the truth, so what a new slot will not send is read from the table and delivered first.
import { type RawBuilder, sql } from 'kysely';
import type { Logger } from 'pino';
import type { Metrics } from '../../metrics/metrics.ts';
import { untilAborted } from '../../pause.ts';
import type { KnownServer } from '../../replication/server/known-server.ts';
import type { CatchUpPort } from '../../replication/slot/set-up.ts';
import { filterOf, type Shard } from '../../shard.ts';
import { deliveriesOf } from '../delivery/delivery.ts';
import { Completion } from '../lanes/completion.ts';
import type { Scheduler } from '../lanes/scheduler.ts';
import type { Database } from '../tables/database.ts';
import { persistently } from '../tables/outages.ts';
import type { OutboxReader } from '../tables/reader.ts';

const CHUNK_ROWS = 500;
const FETCH_ROWS = 10_000;
const SEQUENCES_WERE_BEHIND =
  'Sequences were behind the ids in their tables (a copy of the database without them?): moved them on.';
const FROM_TABLE = { committedAt: null, endLsn: null };

export class CatchUp implements CatchUpPort {
  readonly server: KnownServer;
  readonly #db: Database;
  readonly #slot: string;
  readonly #shard: Shard;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  #backlog: Backlog = { ids: [], transactions: [], starts: [] };

  /** `db` reaches `server` and no other; `slot` is the shard's. */
  constructor(db: Database, server: KnownServer, slot: string, shard: Shard, metrics: Metrics, log: Logger) {
    this.server = server;
    this.#db = db;
    this.#slot = slot;
    this.#shard = shard;
    this.#metrics = metrics;
    this.#log = log;
  }

  async catchUpState() {
    const { systemIdentifier, timeline } = this.server.identity;
    const row = await this.#db
      .selectFrom('fhir_slot')
      .selectAll()
      .where('slot_name', '=', this.#slot)
      .executeTakeFirst();
    if (!row) return 'never';
    const here = row.system_identifier === systemIdentifier && row.timeline === timeline;
    return row.caught_up_at && here ? 'done' : 'due';
  }

  /** Here too, and not only by migrate: a copy may have left the sequences behind, and until they are moved no change of a patient can be written. */
  async markDue(): Promise<void> {
    // From here on, for making the slot may take long: it waits for open transactions.
    this.#metrics.connectorState.set('catching-up');
    const { rows } = await sql<{ tables: string[] }>`SELECT fhir_align_sequences() AS tables`.execute(this.#db);
    const tables = rows[0]?.tables ?? [];
    if (tables.length > 0) this.#log.warn({ tables }, SEQUENCES_WERE_BEHIND);
    await sql`INSERT INTO fhir_slot (slot_name, caught_up_at) VALUES (${this.#slot}, NULL)
              ON CONFLICT (slot_name) DO UPDATE SET caught_up_at = NULL`.execute(this.#db);
  }

  /** https://www.postgresql.org/docs/current/sql-set-transaction.html : an exported snapshot needs a new REPEATABLE READ transaction. */
  async collect(snapshot: string | null): Promise<void> {
    this.#backlog = await this.#db
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute(async (transaction) => {
        if (snapshot) await sql`SET TRANSACTION SNAPSHOT ${sql.lit(snapshot)}`.execute(transaction);
        return readBacklog(transaction, sql.raw(filterOf(this.#shard)));
      });
  }

  /** Delivers what was collected (until `signal` is aborted: the slot is lost), then remembers that this system and timeline are caught up. */
  async run(outbox: Scheduler, reader: OutboxReader, signal: AbortSignal): Promise<void> {
    const { systemIdentifier, timeline } = this.server.identity;
    this.#metrics.catchUps.inc();
    const backlog = this.#backlog;
    const rows = backlog.ids.length;
    this.#log.info({ rows }, 'Catching up: delivering the outbox rows that the slot will not send.');
    await deliver(backlog, outbox, reader, signal);
    await persistently(
      () =>
        sql`INSERT INTO fhir_slot (slot_name, system_identifier, timeline, caught_up_at)
              VALUES (${this.#slot}, ${systemIdentifier}, ${timeline}, now())
              ON CONFLICT (slot_name) DO UPDATE SET system_identifier = EXCLUDED.system_identifier,
                timeline = EXCLUDED.timeline, caught_up_at = EXCLUDED.caught_up_at`.execute(this.#db),
      this.#log,
      signal,
    );
    this.#log.info({ rows }, 'Caught up.');
    this.#backlog = { ids: [], transactions: [], starts: [] };
  }
}

/**
 * The sweep: rows committed before the slot became ours that the stream has passed and nobody has in a lane were
 * skipped by the slot (advanced or made anew by hand). They are counted, told and delivered.
 */
export async function sweepSkippedRows(
  db: Database,
  outbox: Scheduler,
  reader: OutboxReader,
  snapshotAtConnect: string,
  shard: Shard,
  metrics: Metrics,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const inLanes = outbox.rowsInLanes();
  const skipped = await persistently(
    () =>
      db.transaction().execute((transaction) =>
        readBacklog(
          transaction,
          sql`${sql.raw(filterOf(shard))} AND NOT (id = ANY (${inLanes}::bigint[]))
              AND pg_visible_in_snapshot(txid::text::xid8, ${snapshotAtConnect}::pg_snapshot)`,
        ),
      ),
    log,
    signal,
  );
  const rows = skipped.ids.length;
  if (rows === 0) return;
  log.warn({ rows }, 'The slot had skipped outbox rows (was it advanced by hand?); delivering them.');
  metrics.skippedRows.inc(rows);
  await deliver(skipped, outbox, reader, signal);
}

/** Unprocessed rows in the order in which they are to be delivered. */
interface Backlog {
  readonly ids: number[];
  /** For each id the last one of its transaction: equal for the rows of one transaction. */
  readonly transactions: number[];
  /** The first indexes of a patient within a transaction. */
  readonly starts: number[];
}

/**
 * The table does not hold the order of the commits, but ids know enough of it. Who changes a patient after another one,
 * or takes an identifier that another patient gave up, had to wait for that commit before it got its ids. So transactions
 * come in the order of their last ids; within one, as in a spilled transaction, patients that were there before go before
 * new ones. (txids begin again in another cluster; created_at, when the transaction began, tells the two apart.)
 */
async function readBacklog(transaction: Database, condition: RawBuilder<unknown>): Promise<Backlog> {
  const backlog: Backlog = { ids: [], transactions: [], starts: [] };
  await sql`DECLARE backlog NO SCROLL CURSOR FOR
    SELECT id::float8 AS id, last::float8 AS last, coalesce(patient_id, 0) AS patient_id
      FROM (SELECT id, patient_id, last,
                   first_value(table_name = 'patient' AND operation = 'I')
                     OVER (PARTITION BY txid, created_at, patient_id ORDER BY table_name NOT IN ('patient', 'patient_other_identifiers'), id) AS is_new
              FROM (SELECT id, txid, created_at, table_name, operation, max(id) OVER (PARTITION BY txid, created_at) AS last,
                           -- Of a form or reading that goes from one patient to another, all rows are of the last one.
                           CASE WHEN table_name IN ('patient', 'patient_other_identifiers') THEN patient_id
                                ELSE first_value(patient_id)
                                       OVER (PARTITION BY txid, created_at, table_name, record_id ORDER BY id DESC) END AS patient_id
                      FROM fhir_outbox WHERE NOT processed AND ${condition}) AS owned) AS unprocessed
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
async function deliver(backlog: Backlog, outbox: Scheduler, reader: OutboxReader, signal: AbortSignal): Promise<void> {
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
    await untilAborted(outbox.scheduleStored(deliveries, done, signal), signal);
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
