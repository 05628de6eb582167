// Sets the slot up once it is ours: makes what is missing, has caught up with what it will not send, and starts the stream.
import type pg from 'pg';
import type { Logger } from 'pino';
import { type Lsn, parseLsn } from '../../postgres/lsn.ts';
import { onlyRow } from '../../postgres/only-row.ts';
import { type KnownServer, mustBe } from '../server/known-server.ts';
import type { ReplicationConnection } from '../stream/connection.ts';
import { tellingOfBlockers } from './slot-blocker.ts';
import { namesOf, type SlotSettings } from './slot-settings.ts';

/** What must happen around a new slot so that nothing which it will not send is forgotten. The outbox does it. */
export interface CatchUpPort {
  /** The server, with all that is known of it since it was first met. */
  readonly server: KnownServer;
  /** Apart from the slot itself: `never` begun, `due` (not ended, or another system or timeline than last time) or `done`. */
  catchUpState(): Promise<'never' | 'due' | 'done'>;
  /** Commits "catch-up is due"; called BEFORE a slot is created or dropped, so that a crash in between is noticed. */
  markDue(): Promise<void>;
  /** Reads what is unprocessed, under the exported snapshot of the new slot or, where the slot existed, under a new one. */
  collect(snapshot: string | null): Promise<void>;
}

/** A slot that streams to us. */
export interface ReadySlot {
  readonly server: KnownServer;
  /** False: what the outbox holds unprocessed must be delivered before anything is read from the slot. */
  readonly caughtUp: boolean;
  /** Its confirmed_flush_lsn. */
  readonly confirmed: Lsn;
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

/** `catchUpAt` is asked once it is known which server this is, and before anything is read from it. */
export async function setUp(
  control: pg.Client,
  connection: ReplicationConnection,
  settings: SlotSettings,
  catchUpAt: (server: KnownServer) => Promise<CatchUpPort>,
  log: Logger,
): Promise<ReadySlot> {
  const { shard } = settings;
  const { slot, publication } = namesOf(settings);
  const identified = await connection.identify();
  await mustBe(identified, control);
  const catchUp = await catchUpAt(identified);
  const { server } = catchUp;
  const facts = onlyRow(
    await control.query<SlotFacts>(
      `SELECT s.wal_status, s.restart_lsn IS NOT NULL AND s.wal_status <> 'lost' AS usable,
            EXISTS (SELECT FROM pg_publication WHERE pubname = $2) AS published,
            current_setting('server_version_num')::int >= 170000 AS can_fail_over,
            coalesce((to_jsonb(s) ->> 'failover')::bool, false) AS fails_over
       FROM (SELECT) AS one LEFT JOIN pg_replication_slots s ON s.slot_name = $1 AND s.database = current_database()`,
      [slot, publication],
    ),
  );
  // A publication younger than the slot's WAL stops decoding for ever: without its publication a slot is worth nothing.
  const intact = facts.usable && facts.published;
  const state = await catchUp.catchUpState();
  const due = !intact || state !== 'done';
  if (due) await catchUp.markDue();
  if (!intact) {
    const isFirst = facts.wal_status === null && state === 'never';
    log[isFirst ? 'info' : 'warn'](
      { slot, slotState: facts.wal_status ?? 'missing', publicationExists: facts.published },
      `${isFirst ? 'There is no slot yet: making it' : `${whyAnew(facts)}: making it anew`} (this waits for transactions that are open now); what the outbox holds unprocessed is delivered first.`,
    );
    if (facts.wal_status !== null) await control.query('SELECT pg_drop_replication_slot($1)', [slot]);
    await control.query('SELECT fhir_ensure_publication($1, $2, $3)', [publication, shard.count, shard.index]);
    const snapshot = await tellingOfBlockers(control, connection.walsenderPid, log, () =>
      connection.createSlot(slot, { failover: facts.can_fail_over }),
    );
    await catchUp.collect(snapshot);
  } else if (facts.can_fail_over && !facts.fails_over) {
    await connection.makeFailoverSlot(slot);
    log.info({ slot }, 'Made the slot a failover slot.');
  }
  await connection.start(slot);
  if (intact && due) await catchUp.collect(null);
  const { confirmed, reached } = onlyRow(
    await control.query<{ confirmed: string; reached: string }>(
      `SELECT confirmed_flush_lsn::text AS confirmed, pg_current_wal_flush_lsn()::text AS reached
       FROM pg_replication_slots WHERE slot_name = $1`,
      [slot],
    ),
  );
  // What was collected may have been committed while the slot was made.
  server.saw(parseLsn(reached));
  return { server, caughtUp: !due, confirmed: parseLsn(confirmed) };
}

function whyAnew({ wal_status, usable }: SlotFacts): string {
  if (wal_status === null) return 'The slot is missing';
  return usable ? 'The slot is without its publication' : 'PostgreSQL has given the slot up';
}
