// Catch-up: the outbox is the truth, so what a new slot will not send is read from the table and delivered first.
import { sql } from 'kysely';
import type { Logger } from 'pino';
import type { Metrics } from '../../metrics/metrics.ts';
import type { KnownServer } from '../../replication/server/known-server.ts';
import type { CatchUpPort } from '../../replication/slot/set-up.ts';
import type { Shard } from '../../shard.ts';
import type { Database } from '../tables/database.ts';
import { persistently } from '../tables/outages.ts';
import { type Backlog, type CatchUpEngine, deliver, NOTHING, readBacklog } from './backlog.ts';

const SEQUENCES_WERE_BEHIND =
  'Sequences were behind the ids in their tables (a copy of the database without them?): moved them on.';

/**
 * Of one server. While the slot is set up: `catchUpState`, `markDue`, `collect`. Once it is ours: `run`, and then, when the
 * stream has passed what was committed before, `sweep`.
 */
export class CatchUp implements CatchUpPort {
  readonly server: KnownServer;
  readonly #db: Database;
  readonly #slot: string;
  readonly #shard: Shard;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  /** What `collect` found, for `run`. */
  #backlog: Backlog = NOTHING;

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
    // From here on until it streams: making the slot may take long, for it waits for open transactions.
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
        return readBacklog(transaction, this.#shard);
      });
  }

  /** Delivers what was collected (until `signal` is aborted: the slot is lost), then remembers that this system and timeline are caught up. */
  async run(engine: CatchUpEngine, signal: AbortSignal): Promise<void> {
    const { systemIdentifier, timeline } = this.server.identity;
    this.#metrics.catchUps.inc();
    const rows = this.#backlog.ids.length;
    this.#log.info({ rows }, 'Catching up: delivering the outbox rows that the slot will not send.');
    await deliver(this.#backlog, engine, signal);
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
    this.#backlog = NOTHING;
  }

  /**
   * The sweep: rows committed before the slot became ours that the stream has passed and nobody has in a lane were
   * skipped by the slot (advanced or made anew by hand). They are counted, told and delivered.
   */
  async sweep(engine: CatchUpEngine, snapshotAtConnect: string, signal: AbortSignal): Promise<void> {
    const inLanes = engine.scheduler.rowsInLanes();
    const isSkipped = sql<boolean>`NOT (id = ANY (${inLanes}::bigint[]))
      AND pg_visible_in_snapshot(txid::text::xid8, ${snapshotAtConnect}::pg_snapshot)`;
    const skipped = await persistently(
      () => this.#db.transaction().execute((transaction) => readBacklog(transaction, this.#shard, isSkipped)),
      this.#log,
      signal,
    );
    const rows = skipped.ids.length;
    if (rows === 0) return;
    this.#log.warn({ rows }, 'The slot had skipped outbox rows (was it advanced by hand?); delivering them.');
    this.#metrics.skippedRows.inc(rows);
    await deliver(skipped, engine, signal);
  }
}
