// Whose turn it is: one connector at a time, from before it takes the slot until after its last request has ended.
import type pg from 'pg';
import type { Logger } from 'pino';
import { pause } from '../../pause.ts';
import { WAL_SENDER_TIMEOUT_MS } from '../stream/connection.ts';
import { preflight } from './preflight.ts';
import { joinCount } from './shard-count.ts';
import { namesOf, type SlotSettings } from './slot-settings.ts';

/** Who stands by is to take over within a second, its set-up and first request included. */
const STANDBY_POLL_MS = 200;
const TAKEN = 'Another connector holds the replication slot (or the server is a standby); standing by to take over.';
const OTHER_COUNT =
  'Connectors with another SHARD_COUNT work on this outbox; standing by until the last of them has ended.';
/** Two numbers for pg_try_advisory_lock: ours, and the slot's (hashtext of its name). */
const TENURE_LOCK = 0x46484952;

/**
 * Returns once the slot is nobody's, with the lock that makes it ours for the whole tenure. The slot alone would not do:
 * it is free as soon as its walsender is gone, while the connector that had it may still be sending. That one keeps the
 * lock until its requests have ended (for as long as the pipeline waits for them), or it is dead and PostgreSQL has
 * noticed, or its last proof has run out (lease.ts): then its session is ended, so that it can never give itself another.
 * And while connectors of another SHARD_COUNT work it is nobody's turn here.
 */
export async function waitForTurn(
  control: pg.Client,
  settings: SlotSettings,
  log: Logger,
  standingBy: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { slot } = namesOf(settings);
  for (let said = ''; ; ) {
    let why = TAKEN;
    if (await preflight(control)) {
      const { rows } = await control.query<{ active: boolean | null; locked: boolean; ended: number }>(TAKE_TURN, [
        slot,
        TENURE_LOCK,
        WAL_SENDER_TIMEOUT_MS,
      ]);
      if (rows[0]?.ended) log.warn({ slot }, 'Ended the session of a connector that had lost the slot and was silent.');
      if (rows[0]?.locked) {
        if (await joinCount(control, settings, TENURE_LOCK, log)) return;
        await control.query('SELECT pg_advisory_unlock($1, hashtext($2))', [TENURE_LOCK, slot]);
        why = OTHER_COUNT;
      }
    }
    if (said !== why) {
      log.info({ slot }, why);
      if (said === '') await standingBy();
      said = why;
    }
    await pause(STANDBY_POLL_MS, signal);
  }
}

/** https://www.postgresql.org/docs/current/view-pg-locks.html : how the two numbers of an advisory lock are shown. */
const TAKE_TURN = `
  SELECT s.active,
         CASE WHEN s.active THEN false ELSE pg_try_advisory_lock($2, hashtext($1)) END AS locked,
         (SELECT count(*) FILTER (WHERE pg_terminate_backend(l.pid))::int
            FROM pg_locks l JOIN pg_stat_activity a USING (pid)
           WHERE NOT s.active AND l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND l.classid = $2::int::oid AND l.objid = (hashtext($1)::bigint & 4294967295)::oid
             AND l.pid <> pg_backend_pid()
             AND a.query_start < clock_timestamp() - $3::int * interval '1 millisecond') AS ended
    FROM (SELECT coalesce((SELECT active FROM pg_replication_slots WHERE slot_name = $1), false) AS active) AS s`;
