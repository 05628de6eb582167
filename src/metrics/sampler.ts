// Reads the gauges that only PostgreSQL knows: the outbox's backlog, the dead letters and the health of the slot.

import { setTimeout as delay } from 'node:timers/promises';
import { type Kysely, sql, type Transaction } from 'kysely';
import type { Logger } from 'pino';
import { driftKinds, type Metrics, type SlotState, type VerificationScope } from './metrics.ts';

const intervalMs = 5_000;
const statementTimeoutMs = 1_000;
// statement_timeout runs in the server; this one also ends the wait for a server that no longer answers at all. It is
// longer than the queries may take together, so that a slow backlog never hides a slot that was read.
const deadlineMs = 5_000;

interface SlotRow {
  wal_status: SlotState | null;
  active: boolean;
  retained_bytes: number | null;
  confirmed_lag_bytes: number | null;
  safe_wal_bytes: number | null;
}

/**
 * Samples the gauges of `metrics` for the slot `slotName`. While PostgreSQL cannot be asked, the slot's state is
 * `unknown`, the other gauges keep their last value, and one log line tells of the change.
 */
export function createSampler<DB>(
  db: Kysely<DB>,
  slotName: string,
  metrics: Metrics,
  log: Pick<Logger, 'info' | 'warn'>,
) {
  let running: Promise<void> | undefined;
  let failing = false;

  async function readOutbox(trx: Transaction<DB>): Promise<void> {
    // The oldest by id, not min(created_at): the partial index on unprocessed ids answers without reading the backlog.
    const { rows } = await sql<{ unprocessed: number; lag: number }>`
      SELECT (SELECT count(*) FROM public.fhir_outbox WHERE NOT processed)::float8 AS unprocessed,
             coalesce(greatest(extract(epoch FROM clock_timestamp() -
               (SELECT created_at FROM public.fhir_outbox WHERE NOT processed ORDER BY id LIMIT 1)), 0), 0)::float8 AS lag
    `.execute(trx);
    metrics.outboxUnprocessed.set(rows[0]?.unprocessed ?? Number.NaN);
    metrics.outboxLag.set(rows[0]?.lag ?? Number.NaN);
  }

  async function readDeadLetters(trx: Transaction<DB>): Promise<void> {
    const { rows } = await sql<{ unresolved: number; oldest: number }>`
      SELECT count(*)::float8 AS unresolved,
             coalesce(greatest(extract(epoch FROM clock_timestamp() - min(first_failed_at)), 0), 0)::float8 AS oldest
        FROM public.fhir_dlq WHERE resolved_at IS NULL
    `.execute(trx);
    metrics.deadLetters.set(rows[0]?.unresolved ?? Number.NaN);
    metrics.deadLetterOldest.set(rows[0]?.oldest ?? Number.NaN);
  }

  async function readVerifications(trx: Transaction<DB>): Promise<void> {
    const { rows } = await sql<{ scope: VerificationScope; ended: number; drift: Record<string, number> }>`
      SELECT DISTINCT ON (scope) scope, extract(epoch FROM finished_at)::float8 AS ended, drift
        FROM public.fhir_verification ORDER BY scope, id DESC
    `.execute(trx);
    for (const { scope, ended, drift } of rows) {
      metrics.verifiedAt.set({ scope }, ended);
      for (const kind of driftKinds) metrics.drift.set({ scope, kind }, drift[kind] ?? 0);
    }
  }

  async function readSlot(trx: Transaction<DB>): Promise<void> {
    // pg_current_wal_lsn() is an error in recovery; pg_last_wal_receive_lsn() is NULL where WAL comes from an archive.
    // https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-RECOVERY-INFO
    const { rows } = await sql<SlotRow>`
      SELECT wal_status, active,
             pg_wal_lsn_diff(wal.position, restart_lsn)::float8 AS retained_bytes,
             pg_wal_lsn_diff(wal.position, confirmed_flush_lsn)::float8 AS confirmed_lag_bytes,
             safe_wal_size::float8 AS safe_wal_bytes
        FROM pg_catalog.pg_replication_slots,
             (SELECT CASE WHEN pg_is_in_recovery()
                          THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                          ELSE pg_current_wal_lsn() END AS position) AS wal
       WHERE slot_name = ${slotName}
    `.execute(trx);
    const slot = rows[0];
    // wal_status is NULL for a slot without restart_lsn that is not invalidated: one that is being created.
    const state = slot === undefined ? 'missing' : (slot.wal_status ?? 'unknown');
    metrics.slotState.set(state);
    metrics.slotActive.set(slot?.active === true ? 1 : 0);
    metrics.slotRetainedBytes.set(slot?.retained_bytes ?? 0);
    metrics.slotConfirmedLagBytes.set(slot?.confirmed_lag_bytes ?? Number.NaN);
    metrics.slotSafeWalBytes.set(state === 'lost' ? 0 : (slot?.safe_wal_bytes ?? Number.NaN));
  }

  /** Each in its own transaction: a backlog too long to count in time must not hide the slot. */
  async function readAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const read of [readSlot, readOutbox, readDeadLetters, readVerifications]) {
      try {
        await db
          .transaction()
          .setAccessMode('read only')
          .execute(async (trx) => {
            await sql`SELECT set_config('statement_timeout', ${String(statementTimeoutMs)}, true)`.execute(trx);
            await read(trx);
          });
      } catch (error) {
        if (read === readSlot) metrics.slotState.set('unknown');
        failures.push(error);
      }
    }
    report(failures[0]);
  }

  function report(failure: unknown): void {
    if (failure !== undefined && !failing) {
      // By code, never by message: PostgreSQL's messages quote values.
      const code = failure instanceof Error && 'code' in failure ? failure.code : null;
      log.warn({ code }, 'metrics: PostgreSQL did not answer the gauge queries; the gauges keep their last values');
    }
    if (failure === undefined && failing) log.info('metrics: PostgreSQL answers the gauge queries again');
    failing = failure !== undefined;
  }

  /** Samples all gauges once; never rejects. A sample still waiting for PostgreSQL is joined, not doubled. */
  async function sampleOnce(): Promise<void> {
    running ??= readAll().finally(() => {
      running = undefined;
    });
    const stopWaiting = new AbortController();
    const late = delay(deadlineMs, true, { signal: stopWaiting.signal }).catch(() => false);
    if (await Promise.race([running.then(() => false), late])) {
      metrics.slotState.set('unknown');
      report(new Error(`no answer within ${deadlineMs} ms`));
    }
    stopWaiting.abort();
  }

  return {
    sampleOnce,

    /** Samples every five seconds until `signal` aborts; resolves then. */
    async start(signal: AbortSignal): Promise<void> {
      while (!signal.aborted) {
        await sampleOnce();
        await delay(intervalMs, undefined, { signal }).catch(() => undefined);
      }
    },
  };
}
