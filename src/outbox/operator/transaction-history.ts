// What became of one transaction: its events, as the outbox and the dead letters tell. No patient's data.
import { sql } from 'kysely';
import { toldId } from '../../fhir/model/told-id.ts';
import { errorCode } from '../../postgres/errors.ts';
import type { Database } from '../tables/database.ts';
import { type EventState, eventState } from './event-state.ts';

const INVALID_PARAMETER = '22023';

interface EventHistory {
  readonly outboxId: number;
  readonly table: string;
  readonly recordId: number;
  readonly operation: 'insert' | 'update' | 'delete';
  /** Null for a row that names no patient. */
  readonly patientId: number | null;
  readonly revision: number | null;
  /** Of the trace that the application handed in; null where it handed none in. */
  readonly traceId: string | null;
  /** When the transaction began. */
  readonly startedAt: Date;
  readonly state: EventState;
  /** Failed tries that counted. */
  readonly attempts: number;
  /** When it was delivered, overtaken, or first failed for good; null while it waits. */
  readonly finishedAt: Date | null;
  readonly fhirId: string | null;
  readonly version: string | null;
  readonly deadLetterId: number | null;
  /** What was decided on the dead letter; null while nothing was. */
  readonly resolution: string | null;
  /** The connector's own words: why it waits, or why it is a dead letter. Null for those of an earlier one, which may quote the patient: its rows have no revision. */
  readonly reason: string | null;
}

export interface TransactionHistory {
  /** As this cluster remembers its transaction of that number; null where that is too long ago, or there was none yet. */
  readonly status: 'in progress' | 'committed' | 'aborted' | null;
  readonly events: readonly EventHistory[];
}

/** `txid`: as pg_current_xact_id() gave it to the application, and as every log line has it. Reads the whole outbox: it has no index for this. */
export async function transactionHistory(db: Database, txid: number): Promise<TransactionHistory> {
  const { rows } = await sql<EventHistory & { payload: unknown }>`
    SELECT o.id::float8 AS "outboxId", o.table_name AS "table", o.record_id AS "recordId",
           CASE o.operation WHEN 'I' THEN 'insert' WHEN 'D' THEN 'delete' ELSE 'update' END AS operation,
           o.patient_id AS "patientId", o.patient_revision::float8 AS revision, o.created_at AS "startedAt",
           substring(o.traceparent FROM 4 FOR 32) AS "traceId",
           ${sql.raw(eventState('o', 'letter'))} AS state,
           o.attempts, o.processed_at AS "finishedAt", o.fhir_resource_id AS "fhirId", o.fhir_version AS version,
           letter.id::float8 AS "deadLetterId", letter.resolution,
           CASE WHEN (letter.id IS NOT NULL OR NOT o.processed) AND o.patient_revision > 0 THEN o.last_error END AS reason, o.payload_json AS payload
      FROM public.fhir_outbox AS o
      LEFT JOIN LATERAL (SELECT q.id, q.resolution FROM public.fhir_dlq AS q WHERE q.outbox_id = o.id ORDER BY q.id DESC LIMIT 1) AS letter ON true
     WHERE o.txid = ${txid} ORDER BY o.id`.execute(db);
  const events = rows.map(({ payload, ...event }) => ({
    ...event,
    fhirId: toldId(event.fhirId, payload),
    version: toldId(event.version, payload),
  }));
  return { status: await statusOf(db, txid), events };
}

/** https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT : an id of the future is an error. */
async function statusOf(db: Database, txid: number): Promise<TransactionHistory['status']> {
  try {
    const { rows } = await sql<{ status: TransactionHistory['status'] }>`
      SELECT pg_xact_status(${String(txid)}::text::xid8) AS status`.execute(db);
    return rows[0]?.status ?? null;
  } catch (error) {
    if (errorCode(error) === INVALID_PARAMETER) return null;
    throw error;
  }
}
