// Dead letters as an operator handles them: read from fhir_dlq, replayed and discarded through the database's own functions.
import type pg from 'pg';
import { readOutcome, type ToldIssue, toldIssues } from '../fhir/outcome.ts';

export const DEAD_LETTER_STATES = ['unresolved', 'replayed', 'discarded', 'superseded'] as const;
type DeadLetterState = (typeof DEAD_LETTER_STATES)[number];

/** Holds no patient's data; `source` is the id of the row in the health tables. */
export interface DeadLetter {
  readonly id: number;
  readonly state: DeadLetterState;
  /** Null for a row that names no patient. */
  readonly patientId: number | null;
  readonly operation: 'insert' | 'update' | 'delete';
  /** Of the server's answer; null when there was none. */
  readonly httpStatus: number | null;
  /** The connector's own words. Null where another program wrote them: they may quote the patient. */
  readonly reason: string | null;
  /** Failed tries that counted. */
  readonly attempts: number;
  readonly failedAt: Date;
  readonly resolvedAt: Date | null;
  /** The login that replayed or discarded it; null when the connector resolved it. */
  readonly resolvedBy: string | null;
  readonly resolutionReason: string | null;
}

/** What became of the event that a replay wrote. */
export interface Replay {
  readonly outboxId: number;
  readonly state: 'waiting' | 'delivered' | 'superseded' | 'dead letter' | 'removed';
  readonly fhirId: string | null;
  readonly version: string | null;
  readonly deadLetterId: number | null;
  /** Why it waits, where a try has failed. */
  readonly lastError: string | null;
}

export interface DeadLetterDetails extends DeadLetter {
  readonly outboxId: number | null;
  /** The transaction that changed the patient. */
  readonly txid: number | null;
  readonly table: string | null;
  readonly recordId: number | null;
  readonly revision: number | null;
  readonly issues: readonly ToldIssue[];
  readonly replay: Replay | null;
  /** Unresolved dead letters of the same patient, this one left out. */
  readonly others: readonly number[];
  /** Patient data, and only there when it was asked for. */
  readonly payload?: unknown;
  /** As the server sent it; it may quote the patient. Only there when the payload was asked for. */
  readonly operationOutcome?: unknown;
}

export interface DeadLetterList {
  readonly deadLetters: readonly DeadLetter[];
  /** How many there are in the state asked for. */
  readonly total: number;
  /** How many there are of each state. */
  readonly counts: Readonly<Record<DeadLetterState, number>>;
  /** The most frequent reasons among all in the state asked for. */
  readonly reasons: readonly { readonly reason: string | null; readonly count: number }[];
}

/** What became of one id that was asked for. */
export interface Resolution {
  readonly id: number;
  readonly result: 'replayed' | 'discarded' | 'resolved' | 'no patient' | 'not found';
  readonly patientId: number | null;
  /** The event that carries the patient's current state. */
  readonly outboxId: number | null;
}

const STATE = `coalesce(q.resolution, CASE WHEN q.resolved_at IS NULL THEN 'unresolved' ELSE 'discarded' END)`;
/** Before this connector, error_text was whatever the server or the driver said. */
const REASON = `CASE WHEN q.resource_type IS NOT NULL THEN q.error_text END`;
const COLUMNS = `q.id::float8 AS id, ${STATE} AS state, q.patient_id AS "patientId",
  CASE q.operation WHEN 'I' THEN 'insert' WHEN 'D' THEN 'delete' ELSE 'update' END AS operation,
  q.http_status AS "httpStatus", ${REASON} AS reason, q.attempts, q.first_failed_at AS "failedAt",
  q.resolved_at AS "resolvedAt", q.resolved_by AS "resolvedBy", q.resolution_reason AS "resolutionReason"`;
const MOST_FREQUENT = 5;
/** Their writers wait while a replay is under way, so it takes some patients at a time. */
const PATIENTS_AT_ONCE = 100;

/** The oldest first, at most `limit`; of one state, or of all. */
export async function listDeadLetters(
  client: pg.ClientBase,
  state: DeadLetterState | 'all',
  limit: number,
): Promise<DeadLetterList> {
  const condition = `($1 = 'all' OR ${STATE} = $1)`;
  const { rows: deadLetters } = await client.query<DeadLetter>(
    `SELECT ${COLUMNS} FROM public.fhir_dlq AS q WHERE ${condition} ORDER BY q.id LIMIT $2`,
    [state, limit],
  );
  const { rows: reasons } = await client.query<{ reason: string | null; count: number }>(
    `SELECT ${REASON} AS reason, count(*)::float8 AS count FROM public.fhir_dlq AS q WHERE ${condition}
      GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ${MOST_FREQUENT}`,
    [state],
  );
  const { rows: states } = await client.query<{ state: DeadLetterState; count: number }>(
    `SELECT ${STATE} AS state, count(*)::float8 AS count FROM public.fhir_dlq AS q GROUP BY 1`,
  );
  const countOf = (one: DeadLetterState) => states.find((row) => row.state === one)?.count ?? 0;
  const counts = Object.fromEntries(DEAD_LETTER_STATES.map((one) => [one, countOf(one)])) as DeadLetterList['counts'];
  const total = state === 'all' ? states.reduce((sum, { count }) => sum + count, 0) : counts[state];
  return { deadLetters, total, counts, reasons };
}

/** Null when there is none with this id. */
export async function readDeadLetter(
  client: pg.ClientBase,
  id: number,
  withPayload: boolean,
): Promise<DeadLetterDetails | null> {
  const { rows } = await client.query<DeadLetterDetails & { payload: unknown; operationOutcome: unknown }>(
    `SELECT ${COLUMNS}, q.outbox_id::float8 AS "outboxId", q.txid::float8 AS txid, q.table_name AS "table",
            q.record_id AS "recordId", q.patient_revision::float8 AS revision,
            CASE WHEN q.replay_outbox_id IS NOT NULL THEN jsonb_build_object(
              'outboxId', q.replay_outbox_id,
              'state', CASE WHEN o.id IS NULL THEN 'removed' WHEN NOT o.processed THEN 'waiting'
                            WHEN again.id IS NOT NULL THEN 'dead letter' WHEN o.last_error IS NOT NULL THEN 'superseded'
                            ELSE 'delivered' END,
              'fhirId', o.fhir_resource_id, 'version', o.fhir_version, 'deadLetterId', again.id,
              'lastError', CASE WHEN NOT o.processed THEN o.last_error END) END AS replay,
            ARRAY(SELECT other.id::float8 FROM public.fhir_dlq AS other
                   WHERE other.resolved_at IS NULL AND other.patient_id = q.patient_id AND other.id <> q.id ORDER BY 1) AS others,
            q.operation_outcome AS "operationOutcome", CASE WHEN $2 THEN q.payload_json END AS payload
       FROM public.fhir_dlq AS q
       LEFT JOIN public.fhir_outbox AS o ON o.id = q.replay_outbox_id
       LEFT JOIN LATERAL (SELECT max(a.id) AS id FROM public.fhir_dlq AS a WHERE a.outbox_id = o.id) AS again ON true
      WHERE q.id = $1`,
    [id, withPayload],
  );
  const [row] = rows;
  if (!row) return null;
  const { payload, operationOutcome, ...details } = row;
  const issues = toldIssues(readOutcome(operationOutcome));
  return { ...details, issues, ...(withPayload && { payload, operationOutcome }) };
}

/** Ids of all unresolved dead letters that name a patient. */
export async function replayableDeadLetters(client: pg.ClientBase): Promise<number[]> {
  const { rows } = await client.query<{ id: number }>(
    'SELECT id::float8 AS id FROM public.fhir_dlq WHERE resolved_at IS NULL AND patient_id IS NOT NULL ORDER BY id',
  );
  return rows.map(({ id }) => id);
}

/**
 * Writes the current state of their patients to the outbox, one event a patient, and marks them replayed. Yields after
 * each transaction of some patients: what was yielded is committed, also when a later one fails.
 */
export async function* replayDeadLetters(
  client: pg.ClientBase,
  ids: readonly number[],
  reason: string | null,
): AsyncGenerator<readonly Resolution[]> {
  const { rows } = await client.query<{ ids: number[] }>(
    `SELECT array_agg(asked.id ORDER BY asked.id) AS ids
       FROM unnest($1::float8[]) AS asked (id) LEFT JOIN public.fhir_dlq AS q ON q.id = asked.id
      GROUP BY q.patient_id ORDER BY q.patient_id`,
    [ids],
  );
  for (let from = 0; from < rows.length; from += PATIENTS_AT_ONCE) {
    const some = rows.slice(from, from + PATIENTS_AT_ONCE).flatMap((row) => row.ids);
    const { rows: resolutions } = await client.query<Resolution>(
      `SELECT dead_letter_id::float8 AS id, result, patient_id AS "patientId", outbox_id::float8 AS "outboxId"
         FROM public.fhir_replay_dead_letters($1::bigint[], $2)`,
      [some, reason],
    );
    yield resolutions;
  }
}

/** Marks them discarded: nothing is sent for them. */
export async function discardDeadLetters(
  client: pg.ClientBase,
  ids: readonly number[],
  reason: string,
): Promise<Resolution[]> {
  const { rows } = await client.query<Resolution>(
    `SELECT dead_letter_id::float8 AS id, result, NULL AS "patientId", NULL AS "outboxId"
       FROM public.fhir_discard_dead_letters($1::bigint[], $2)`,
    [ids, reason],
  );
  return rows;
}

/** How many unresolved dead letters these patients still have. */
export async function unresolvedOf(client: pg.ClientBase, patientIds: readonly number[]): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    'SELECT count(*)::float8 AS count FROM public.fhir_dlq WHERE resolved_at IS NULL AND patient_id = ANY ($1::integer[])',
    [patientIds],
  );
  return rows[0]?.count ?? 0;
}
