// One tenure of the replication slot, from taking it to losing it: standing by, creating what is missing, the lease, feedback.
import type pg from 'pg';
import type { Logger } from 'pino';
import { untilAborted } from '../../pause.ts';
import { type Lsn, parseLsn } from '../../postgres/lsn.ts';
import { LINKS_CHANGED, nameOf, type Shard } from '../../shard.ts';
import { Feedback } from '../acknowledgement/feedback.ts';
import { type KnownServer, mustBe, watchServer } from '../server/known-server.ts';
import { ReplicationConnection, WAL_SENDER_TIMEOUT_MS } from '../stream/connection.ts';
import type { ReplicationMessage } from '../stream/messages.ts';
import { controlConnection } from './control-connection.ts';
import { tellingWhatHoldsItUp } from './hold-up.ts';
import { SlotLease } from './lease.ts';
import { dropOtherCounts, type Family } from './shard-count.ts';
import { waitForTurn } from './turn.ts';

/** The names are what those of the shard's own slot and publication are made of (shard.ts). */
export interface SlotSettings extends Family {
  readonly client: pg.ClientConfig;
  readonly shard: Shard;
}

/** What must happen around a new slot so that nothing which it will not send is forgotten. */
export interface CatchUpHooks {
  /** The server, with all that is known of it since it was first met. */
  readonly server: KnownServer;
  /** Apart from the slot itself: `never` begun, `due` (not ended, or another system or timeline than last time) or `done`. */
  standing(): Promise<'never' | 'due' | 'done'>;
  /** Commits "catch-up is due"; called BEFORE a slot is created or dropped, so that a crash in between is noticed. */
  markDue(): Promise<void>;
  /** Reads what is unprocessed, under the exported snapshot of the new slot or, where the slot existed, under a new one. */
  collect(snapshot: string | null): Promise<void>;
}

/** Asked once it is known which server this is, and before anything is read from it. */
export type HooksOf = (server: KnownServer) => Promise<CatchUpHooks>;

export class Tenure {
  readonly slot: string;
  readonly server: KnownServer;
  /** False: what the outbox holds unprocessed must be delivered before anything is read from the slot. */
  readonly caughtUp: boolean;
  readonly feedback: Feedback;
  readonly lease = new SlotLease();
  readonly #control: pg.Client;
  readonly #connection: ReplicationConnection;
  readonly #ended = new AbortController();

  private constructor(
    control: pg.Client,
    connection: ReplicationConnection,
    { slot: family, client, shard }: SlotSettings,
    held: { server: KnownServer; confirmed: Lsn; caughtUp: boolean },
  ) {
    this.#control = control;
    this.#connection = connection;
    this.slot = nameOf(family, shard);
    this.server = held.server;
    this.caughtUp = held.caughtUp;
    this.feedback = new Feedback({
      confirmed: held.confirmed,
      control,
      sendStatus: (acknowledged) => connection.sendStatus(acknowledged),
      onFault: (error) => this.#lose(error),
    });
    // PostgreSQL's fast shutdown ends SQL connections first and then waits for us to confirm all WAL, which unfinished
    // work forbids. Losing the control connection therefore ends the tenure: nobody's shutdown is held up.
    control.on('error', (error) => this.#lose(error));
    control.on('end', () => this.#lose(new Error('PostgreSQL closed the control connection.')));
    this.lease
      .renew(control, this.slot, connection.walsenderPid, this.#ended.signal)
      .catch((error: Error) => this.#lose(error));
    watchServer(held.server, client, this.#ended.signal).catch((error: Error) => this.#lose(error));
  }

  /** Waits until the slot is ours and streaming. Rejects with PostgreSQL's error or a FatalError; the caller decides about trying again. */
  static async take(
    settings: SlotSettings,
    hooksOf: HooksOf,
    log: Logger,
    onStandby: () => Promise<void>,
    onLinksChanged: () => void,
    signal: AbortSignal,
  ): Promise<Tenure> {
    const control = controlConnection(settings.client);
    let connection: ReplicationConnection | null = null;
    // Making a slot waits for the transactions of others, for hours perhaps; a stop does not wait for that.
    const giveUp = () => void connection?.close();
    signal.addEventListener('abort', giveUp);
    try {
      await untilAborted(control.connect(), signal);
      await waitForTurn(control, settings, settings.shard, log, onStandby, signal);
      // Before anything is read into memory that it may tell of.
      if (settings.shard.count > 1) {
        control.on('notification', onLinksChanged);
        await control.query(`LISTEN ${LINKS_CHANGED}`);
      }
      // Making a slot can take long, and who is silent for long is taken for dead.
      const alive = setInterval(() => control.query('SELECT').catch(() => undefined), WAL_SENDER_TIMEOUT_MS / 4);
      try {
        const client = { ...settings.client, application_name: 'fhir-connector' };
        connection = await ReplicationConnection.open(client, nameOf(settings.publication, settings.shard));
        signal.throwIfAborted();
        const held = await setUp(control, connection, settings, hooksOf, log);
        await dropOtherCounts(control, settings, settings.shard, log);
        return new Tenure(control, connection, settings, held);
      } finally {
        clearInterval(alive);
      }
    } catch (error) {
      await connection?.close();
      await control.end().catch(() => undefined);
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** Batches in WAL order, until `stopReading`; throws when the slot is lost. */
  async *messages(): AsyncGenerator<readonly ReplicationMessage[]> {
    try {
      yield* this.#connection.messages();
    } catch (error) {
      this.#lose(error as Error);
      throw error;
    }
    this.#ended.signal.throwIfAborted();
  }

  /** Aborted, with the error as its reason, when the slot is lost or given back. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /**
   * Where the WAL stands and which transactions are visible, now that the slot is ours: what ends later than `lsn` nobody
   * else can have read. (The insert position, not the flushed one: an asynchronous commit is visible before it is flushed.)
   */
  async standpoint(): Promise<{ lsn: Lsn; snapshot: string }> {
    const { rows } = await this.#control
      .query<{ lsn: string; snapshot: string }>(
        'SELECT pg_current_snapshot()::text AS snapshot, pg_current_wal_insert_lsn()::text AS lsn',
      )
      .catch((error: Error) => {
        this.#lose(error);
        throw error;
      });
    const row = rows[0];
    if (!row) throw new Error('PostgreSQL gave no WAL position.');
    return { lsn: parseLsn(row.lsn), snapshot: row.snapshot };
  }

  /** Ends `messages` while the slot stays ours, so that what is in flight can be finished and acknowledged. */
  stopReading(): void {
    this.#connection.stopReading();
  }

  /** Nothing is begun any more. Whichever connection is left keeps others from taking the slot until `close`. */
  #lose(error: Error): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(error);
    this.lease.revoke();
    this.feedback.stop();
    this.#connection.stopReading();
  }

  /** Sends the last position, then gives the slot back. */
  async close(): Promise<void> {
    this.#lose(new Error('The replication slot was given back.'));
    await this.feedback.last();
    await this.#connection.close();
    await this.#control.end().catch(() => undefined);
  }
}

interface SlotFacts {
  /** reserved, extended, unreserved, lost; null when the slot is missing. */
  wal_status: string | null;
  usable: boolean;
  published: boolean;
  /** PostgreSQL 17 on. */
  can_fail_over: boolean;
  fails_over: boolean;
}

async function setUp(
  control: pg.Client,
  connection: ReplicationConnection,
  settings: SlotSettings,
  hooksOf: HooksOf,
  log: Logger,
) {
  const { shard } = settings;
  const slot = nameOf(settings.slot, shard);
  const publication = nameOf(settings.publication, shard);
  const identified = await connection.identify();
  await mustBe(identified, control);
  const hooks = await hooksOf(identified);
  const { server } = hooks;
  const { rows } = await control.query<SlotFacts>(
    `SELECT s.wal_status, s.restart_lsn IS NOT NULL AND s.wal_status <> 'lost' AS usable,
            EXISTS (SELECT FROM pg_publication WHERE pubname = $2) AS published,
            current_setting('server_version_num')::int >= 170000 AS can_fail_over,
            coalesce((to_jsonb(s) ->> 'failover')::bool, false) AS fails_over
       FROM (SELECT) AS one LEFT JOIN pg_replication_slots s ON s.slot_name = $1 AND s.database = current_database()`,
    [slot, publication],
  );
  const [facts] = rows;
  if (!facts) throw new Error('PostgreSQL did not tell of the slot.');
  // A publication younger than the slot's WAL stops decoding for ever: without its publication a slot is worth nothing.
  const intact = facts.usable && facts.published;
  const standing = await hooks.standing();
  const due = !intact || standing !== 'done';
  if (due) await hooks.markDue();
  if (!intact) {
    const isFirst = facts.wal_status === null && standing === 'never';
    log[isFirst ? 'info' : 'warn'](
      { slot, slotState: facts.wal_status ?? 'missing', publicationExists: facts.published },
      `${isFirst ? 'There is no slot yet: making it' : `${whyAnew(facts)}: making it anew`} (this waits for transactions that are open now); what the outbox holds unprocessed is delivered first.`,
    );
    if (facts.wal_status !== null) await control.query('SELECT pg_drop_replication_slot($1)', [slot]);
    await control.query('SELECT fhir_ensure_publication($1, $2, $3)', [publication, shard.count, shard.index]);
    const snapshot = await tellingWhatHoldsItUp(control, connection.walsenderPid, log, () =>
      connection.createSlot(slot, { failover: facts.can_fail_over }),
    );
    await hooks.collect(snapshot);
  } else if (facts.can_fail_over && !facts.fails_over) {
    await connection.makeFailoverSlot(slot);
    log.info({ slot }, 'Made the slot a failover slot.');
  }
  await connection.start(slot);
  if (intact && due) await hooks.collect(null);
  const { rows: positions } = await control.query<{ confirmed: string; flushed: string }>(
    `SELECT confirmed_flush_lsn::text AS confirmed, pg_current_wal_flush_lsn()::text AS flushed
       FROM pg_replication_slots WHERE slot_name = $1`,
    [slot],
  );
  const [position] = positions;
  if (!position) throw new Error('PostgreSQL gave no position of the slot.');
  // What was collected may have been committed while the slot was made.
  server.saw(parseLsn(position.flushed));
  return { server, caughtUp: !due, confirmed: parseLsn(position.confirmed) };
}

function whyAnew({ wal_status, usable }: SlotFacts): string {
  if (wal_status === null) return 'The slot is missing';
  return usable ? 'The slot is without its publication' : 'PostgreSQL has given the slot up';
}
