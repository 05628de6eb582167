// What only PostgreSQL knows of the connector: the slot, the backlog, the dead letters, the verifications. For gauges and for people.
import { type Kysely, sql } from 'kysely';
import { onlyRow } from '../postgres/only-row.ts';
import { TRIGGER_ROWS, type TriggerRow, triggersOff } from '../postgres/triggers.ts';
import { filterOf, type Shard } from '../shard.ts';
import type { SlotState, VerificationScope } from './metrics.ts';

export interface SlotFacts {
  /** `missing` and active: PostgreSQL is making it, which waits for transactions that are open. */
  readonly state: Exclude<SlotState, 'unknown'>;
  /** Somebody reads or makes it. */
  readonly active: boolean;
  /** WAL that PostgreSQL keeps for it; 0 where it keeps none. */
  readonly retainedBytes: number;
  /** WAL written since the position that was confirmed. */
  readonly confirmedLagBytes: number | null;
  /** WAL that can be written before it may be lost; null without max_slot_wal_keep_size. */
  readonly safeWalBytes: number | null;
}

/** Of the WAL that a slot may keep, the part that has to be left: with less the alert WalHeadroom fires. */
export const LEAST_HEADROOM = 0.25;

interface SlotRow {
  state: SlotFacts['state'];
  active: boolean;
  retained_bytes: number | null;
  confirmed_lag_bytes: number | null;
  safe_wal_bytes: number | null;
}

/** https://www.postgresql.org/docs/current/view-pg-replication-slots.html */
export async function slotFacts<DB>(db: Kysely<DB>, slot: string): Promise<SlotFacts> {
  // pg_current_wal_lsn() is an error in recovery; pg_last_wal_receive_lsn() is NULL where WAL comes from an archive.
  // https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-RECOVERY-INFO
  const { rows } = await sql<SlotRow>`
    SELECT active,
           -- Until it is made there is a row for it, of whatever state, that nobody can read from.
           CASE WHEN wal_status = 'lost' THEN wal_status
                WHEN confirmed_flush_lsn IS NULL THEN 'missing' ELSE wal_status END AS state,
           pg_wal_lsn_diff(wal.position, restart_lsn)::float8 AS retained_bytes,
           pg_wal_lsn_diff(wal.position, confirmed_flush_lsn)::float8 AS confirmed_lag_bytes,
           safe_wal_size::float8 AS safe_wal_bytes
      FROM pg_catalog.pg_replication_slots,
           (SELECT CASE WHEN pg_is_in_recovery()
                        THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                        ELSE pg_current_wal_lsn() END AS position) AS wal
     WHERE slot_name = ${slot}`.execute(db);
  const [row] = rows;
  const state = row?.state ?? 'missing';
  return {
    state,
    active: row?.active === true,
    retainedBytes: row?.retained_bytes ?? 0,
    confirmedLagBytes: row?.confirmed_lag_bytes ?? null,
    safeWalBytes: state === 'lost' ? 0 : (row?.safe_wal_bytes ?? null),
  };
}

/** How many of the triggers that write the outbox are missing or disabled. */
export async function triggersOffNow<DB>(db: Kysely<DB>): Promise<number> {
  const { rows } = await sql.raw<TriggerRow>(TRIGGER_ROWS).execute(db);
  const { missing, asleep } = triggersOff(rows);
  return missing.length + asleep.length;
}

export interface OutboxFacts {
  readonly unprocessed: number;
  /** Age of the oldest of them; 0 where there is none. */
  readonly oldestSeconds: number;
}

/** Of the shard's patients. */
export async function outboxFacts<DB>(db: Kysely<DB>, shard: Shard): Promise<OutboxFacts> {
  const ours = sql.raw(filterOf(shard));
  // The oldest by id, not min(created_at): the partial index on unprocessed ids answers without reading the backlog.
  return onlyRow(
    await sql<OutboxFacts>`
    SELECT (SELECT count(*) FROM public.fhir_outbox WHERE NOT processed AND ${ours})::float8 AS unprocessed,
           coalesce(greatest(extract(epoch FROM clock_timestamp() -
             (SELECT created_at FROM public.fhir_outbox WHERE NOT processed AND ${ours} ORDER BY id LIMIT 1)), 0), 0)::float8 AS "oldestSeconds"
  `.execute(db),
  );
}

export interface DeadLetterFacts {
  readonly unresolved: number;
  /** Age of the oldest of them; 0 where there is none. */
  readonly oldestSeconds: number;
}

/** Of the shard's patients. */
export async function deadLetterFacts<DB>(db: Kysely<DB>, shard: Shard): Promise<DeadLetterFacts> {
  return onlyRow(
    await sql<DeadLetterFacts>`
    SELECT count(*)::float8 AS unresolved,
           coalesce(greatest(extract(epoch FROM clock_timestamp() - min(first_failed_at)), 0), 0)::float8 AS "oldestSeconds"
      FROM public.fhir_dlq WHERE resolved_at IS NULL AND ${sql.raw(filterOf(shard))}`.execute(db),
  );
}

export interface VerificationFacts {
  readonly scope: VerificationScope;
  readonly finishedAt: Date;
  /** How many there are of each kind that was found. */
  readonly drift: Readonly<Record<string, number>>;
}

/** The newest of each scope. */
export async function verificationFacts<DB>(db: Kysely<DB>): Promise<VerificationFacts[]> {
  const { rows } = await sql<VerificationFacts>`
    SELECT DISTINCT ON (scope) scope, finished_at AS "finishedAt", drift
      FROM public.fhir_verification ORDER BY scope, id DESC`.execute(db);
  return rows;
}

export interface DeliveryFacts {
  /** Events delivered in the last minute, or overtaken by a newer state: at most MOST_COUNTED are counted. */
  readonly lastMinute: number;
  /** The newest one by its number that is on the server; null where there is none. */
  readonly last: {
    readonly txid: number;
    /** The table of the row. */
    readonly table: string;
    readonly fhirId: string;
    readonly version: string | null;
    readonly secondsAgo: number;
    /** Patient data: it says whether the id may be told, and is not told itself. */
    readonly payload: unknown;
  } | null;
  /** Rows that wait after a failed try, by the connector's own words for it (an earlier one's may quote the patient, and its rows have no revision); the most frequent first. */
  readonly failing: readonly { readonly reason: string; readonly rows: number }[];
}

export const MOST_COUNTED = 100_000;

export async function deliveryFacts<DB>(db: Kysely<DB>): Promise<DeliveryFacts> {
  return onlyRow(
    await sql<DeliveryFacts>`
    SELECT (SELECT count(*) FROM (SELECT processed_at FROM public.fhir_processed_event ORDER BY id DESC LIMIT ${sql.lit(MOST_COUNTED)}) AS newest
             WHERE processed_at > clock_timestamp() - interval '1 minute')::float8 AS "lastMinute",
           (SELECT jsonb_build_object('txid', txid, 'table', table_name, 'fhirId', fhir_resource_id, 'version', fhir_version, 'payload', payload_json,
                                      'secondsAgo', greatest(extract(epoch FROM clock_timestamp() - processed_at), 0))
              FROM public.fhir_outbox WHERE processed AND fhir_resource_id IS NOT NULL ORDER BY id DESC LIMIT 1) AS last,
           coalesce((SELECT jsonb_agg(jsonb_build_object('reason', reason, 'rows', number) ORDER BY number DESC)
              FROM (SELECT last_error AS reason, count(*) AS number FROM public.fhir_outbox
                     WHERE NOT processed AND last_error IS NOT NULL AND patient_revision > 0 GROUP BY last_error ORDER BY number DESC LIMIT 5) AS reasons), '[]') AS failing
  `.execute(db),
  );
}
