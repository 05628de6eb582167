// Room in the outbox, for whoever emits many rows: the changes that people make must not queue behind them.
import { sql } from 'kysely';
import { pause } from '../../pause.ts';
import type { Database } from '../tables/database.ts';

/** `no-connector`: nobody reads a slot of this database. `behind`: it reads, and has more to do than room is left for. */
export type Obstacle = 'no-connector' | 'behind';

/**
 * With so many rows unprocessed, nothing more is emitted. Enough to keep FHIR_CONCURRENCY requests busy; and on a server
 * that takes 150 resources a second, what somebody changes now waits for some three seconds, not for the whole backfill.
 */
const MOST_UNPROCESSED = 500;
const POLL_MS = 100;
/** What passes sooner is nothing that anybody needs to be told. */
const TELL_AFTER_MS = 2000;

/**
 * Resolves once the outbox has room. Waits as long as it takes; `tell` hears what for, at first after two seconds, and
 * null when it is over. Rejects with the signal's reason when it is aborted, or with PostgreSQL's error.
 */
export async function roomInOutbox(
  db: Database,
  tell: (obstacle: Obstacle | null) => void,
  signal: AbortSignal,
): Promise<void> {
  const since = performance.now();
  let told: Obstacle | null = null;
  for (;;) {
    signal.throwIfAborted();
    const obstacle = await obstacleIn(db);
    if (obstacle === null) break;
    if (obstacle !== told && performance.now() - since >= TELL_AFTER_MS) {
      told = obstacle;
      tell(obstacle);
    }
    await pause(POLL_MS, signal);
  }
  if (told !== null) tell(null);
}

/** Whether somebody reads a slot of this database. */
export async function connectorRuns(db: Database): Promise<boolean> {
  const { rows } = await sql<{ runs: boolean }>`
    SELECT EXISTS (SELECT FROM pg_catalog.pg_replication_slots AS s JOIN public.fhir_slot AS known ON known.slot_name = s.slot_name
                    WHERE s.active AND s.database = current_database()) AS runs`.execute(db);
  return rows[0]?.runs === true;
}

async function obstacleIn(db: Database): Promise<Obstacle | null> {
  const { rows } = await sql<{ unprocessed: number }>`
    SELECT count(*)::int AS unprocessed
      FROM (SELECT FROM public.fhir_outbox WHERE NOT processed LIMIT ${MOST_UNPROCESSED}) AS few`.execute(db);
  if ((rows[0]?.unprocessed ?? 0) < MOST_UNPROCESSED) return null;
  return (await connectorRuns(db)) ? 'behind' : 'no-connector';
}
