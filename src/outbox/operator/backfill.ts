// Emits the rows that were there before the triggers: in small transactions, from where an earlier run was ended.
import { sql } from 'kysely';
import { FatalError } from '../../fatal.ts';
import { pause } from '../../pause.ts';
import { mayPass } from '../../postgres/errors.ts';
import type { Database } from '../tables/database.ts';
import { Stride, type Wait } from './emission.ts';
import { roomInOutbox } from './room.ts';
import { watchedKinds } from './watched.ts';

/** Of one table. */
export interface BackfillRun {
  readonly table: string;
  /** Every row, not only those that never reached the FHIR server. */
  readonly everyone: boolean;
  /** Rows up to this id are done. */
  readonly position: number;
  /** The highest id when it began. */
  readonly upperBound: number;
  readonly emitted: number;
  readonly startedAt: Date;
  readonly finished: boolean;
}

export interface BackfillWatcher {
  /** The runs of all tables. `resumed`: an earlier call began them. Called again after a lost connection. */
  started(runs: readonly BackfillRun[], resumed: boolean): void;
  moved(run: BackfillRun): void;
  /** Null when it goes on. */
  waiting(wait: Wait | null): void;
}

/** The number is this program's own, of no meaning elsewhere (migrate has the one before it). */
const ADVISORY_LOCK = 8_137_640_413;
/** The session of a process that was killed takes a moment to end. */
const LOCK_PATIENCE_MS = 5000;
const RETRY_MS = 1000;

/**
 * Emits the rows of all tables whose changes are sent, each table before those that refer to it. Goes on with the backfill that is
 * under way, if there is one; `restart` begins anew. Waits while the connector is behind and while PostgreSQL is away. Throws a
 * FatalError when another process is at it, or when the one under way is of the other kind (`everyone`); rejects with the
 * signal's reason when it is aborted, after the transaction that is open.
 */
export async function backfill(
  db: Database,
  options: { everyone: boolean; restart: boolean },
  watcher: BackfillWatcher,
  signal: AbortSignal,
): Promise<readonly BackfillRun[]> {
  let restart = options.restart;
  for (;;) {
    try {
      return await db.connection().execute(async (connection) => {
        await takeLock(connection, signal);
        try {
          const { runs, resumed } = await start(connection, { ...options, restart });
          // After a lost connection the new run goes on.
          restart = false;
          watcher.started(runs, resumed);
          const done: BackfillRun[] = [];
          for (const run of runs) done.push(await emitAll(connection, run, watcher, signal));
          return done;
        } finally {
          await sql`SELECT pg_advisory_unlock(${ADVISORY_LOCK})`.execute(connection).catch(() => undefined);
        }
      });
    } catch (error) {
      signal.throwIfAborted();
      if (!mayPass(error)) throw error;
      watcher.waiting('no-database');
      await pause(RETRY_MS, signal);
    }
  }
}

async function takeLock(db: Database, signal: AbortSignal): Promise<void> {
  const until = performance.now() + LOCK_PATIENCE_MS;
  for (;;) {
    const { rows } = await sql<{ taken: boolean }>`SELECT pg_try_advisory_lock(${ADVISORY_LOCK}) AS taken`.execute(db);
    if (rows[0]?.taken) return;
    if (performance.now() > until)
      throw new FatalError('Another backfill of this database is running: wait for it to end, or stop it first.');
    await pause(250, signal);
  }
}

async function start(
  db: Database,
  { everyone, restart }: { everyone: boolean; restart: boolean },
): Promise<{ runs: readonly BackfillRun[]; resumed: boolean }> {
  const tables = (await watchedKinds(db)).map(({ table }) => table);
  const { rows } = await sql<RunRow>`
    SELECT r.*, r.started_at < now() AS resumed FROM public.fhir_backfill_start(${tables}::text[], ${everyone}, ${restart}) AS r`.execute(
    db,
  );
  const runs = rows.map(runOf);
  const other = runs.find((run) => run.everyone !== everyone);
  if (other) {
    const kind = other.everyone ? 'with --all' : 'without --all';
    throw new FatalError(
      `A backfill ${kind} is under way (ids of ${other.table} up to ${other.position} of ${other.upperBound} are done): call it ${kind} to go on, or with --restart to give it up.`,
    );
  }
  return { runs, resumed: rows.some((row) => row.resumed) };
}

async function emitAll(
  db: Database,
  begun: BackfillRun,
  watcher: BackfillWatcher,
  signal: AbortSignal,
): Promise<BackfillRun> {
  const stride = new Stride(watcher.waiting, signal);
  let run = begun;
  while (!run.finished) {
    await roomInOutbox(db, watcher.waiting, signal);
    const { rows } = await stride.take((size) =>
      sql<RunRow>`SELECT * FROM public.fhir_backfill_step(${begun.table}, ${size})`.execute(db),
    );
    run = runOf(rows[0] as RunRow);
    watcher.moved(run);
  }
  return run;
}

/** bigint columns arrive as text. */
interface RunRow {
  readonly source_table: string;
  readonly everyone: boolean;
  readonly position: string;
  readonly upper_bound: string;
  readonly emitted: string;
  readonly started_at: Date;
  readonly finished_at: Date | null;
  readonly resumed?: boolean;
}

function runOf(row: RunRow): BackfillRun {
  return {
    table: row.source_table,
    everyone: row.everyone,
    position: Number(row.position),
    upperBound: Number(row.upper_bound),
    emitted: Number(row.emitted),
    startedAt: row.started_at,
    finished: row.finished_at !== null,
  };
}
