// Dead letters as an operator handles them: read from fhir_dlq, replayed and discarded through the database's own functions.
import type pg from 'pg';
import { readOutcome, type ToldIssue, toldIssues } from '../../fhir/faults/operation-outcome.ts';
import { toldId } from '../../fhir/model/told-id.ts';
import { KINDS } from '../delivery/kinds.ts';
import { type EventState, eventState } from './event-state.ts';

export const DEAD_LETTER_STATES = ['unresolved', 'replayed', 'discarded', 'superseded'] as const;
type DeadLetterState = (typeof DEAD_LETTER_STATES)[number];

/** A row of the health tables, whose resource it is about. */
export interface SourceRow {
  readonly table: string;
  readonly id: number;
}

/** Holds no patient's data. */
export interface DeadLetter {
  readonly id: number;
  readonly state: DeadLetterState;
  /** Null where the event is of no table that is sent. */
  readonly source: SourceRow | null;
  /** Null for an event that names no patient. */
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
  /** The login that replayed or discarded it, the connector's own for what waited; null when a later delivery superseded it. */
  readonly resolvedBy: string | null;
  readonly resolutionReason: string | null;
}

/** What became of the event that a replay wrote. */
export interface Replay {
  readonly outboxId: number;
  readonly state: EventState | 'removed';
  /** As Patient. */
  readonly type: string | null;
  readonly fhirId: string | null;
  readonly version: string | null;
  readonly deadLetterId: number | null;
  /** Why it waits, where a try has failed. */
  readonly lastError: string | null;
}

export interface DeadLetterDetails extends DeadLetter {
  readonly outboxId: number | null;
  /** The transaction that changed the row. */
  readonly txid: number | null;
  readonly table: string | null;
  readonly recordId: number | null;
  readonly revision: number | null;
  readonly issues: readonly ToldIssue[];
  /** The row whose resource it waits for: when that is on the FHIR server, it is sent again by itself. */
  readonly waitsFor: SourceRow | null;
  readonly replay: Replay | null;
  /** Unresolved dead letters of the same row, this one left out. */
  readonly others: readonly number[];
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
  readonly result: 'replayed' | 'discarded' | 'resolved' | 'no row' | 'not found';
  readonly source: SourceRow | null;
  /** The event that carries the row's current state. */
  readonly outboxId: number | null;
}

const STATE = `coalesce(q.resolution, CASE WHEN q.resolved_at IS NULL THEN 'unresolved' ELSE 'discarded' END)`;
/** Before this connector, error_text was whatever the server or the driver said. */
const REASON = `CASE WHEN q.patient_revision IS NOT NULL THEN q.error_text END`;
const SOURCE = `CASE WHEN q.source_table IS NOT NULL THEN jsonb_build_object('table', q.source_table, 'id', q.source_id) END`;
const COLUMNS = `q.id::float8 AS id, ${STATE} AS state, ${SOURCE} AS source, q.patient_id AS "patientId",
  CASE q.operation WHEN 'I' THEN 'insert' WHEN 'D' THEN 'delete' ELSE 'update' END AS operation,
  q.http_status AS "httpStatus", ${REASON} AS reason, q.attempts, q.first_failed_at AS "failedAt",
  q.resolved_at AS "resolvedAt", q.resolved_by AS "resolvedBy", q.resolution_reason AS "resolutionReason"`;
const MOST_FREQUENT = 5;
/** Their writers wait while a replay is under way, so it takes some rows at a time. */
const ROWS_AT_ONCE = 100;

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
export async function readDeadLetter(client: pg.ClientBase, id: number): Promise<DeadLetterDetails | null> {
  const { rows } = await client.query<DeadLetterDetails & { operationOutcome: unknown; delivered: unknown }>(
    `SELECT ${COLUMNS}, q.outbox_id::float8 AS "outboxId", q.txid::float8 AS txid, q.table_name AS "table",
            q.record_id AS "recordId", q.patient_revision::float8 AS revision,
            CASE WHEN q.replay_outbox_id IS NOT NULL THEN jsonb_build_object(
              'outboxId', q.replay_outbox_id,
              'state', CASE WHEN o.id IS NULL THEN 'removed' ELSE ${eventState('o', 'again')} END,
              'type', q.resource_type, 'fhirId', o.fhir_resource_id, 'version', o.fhir_version, 'deadLetterId', again.id,
              'lastError', CASE WHEN NOT o.processed THEN o.last_error END) END AS replay,
            ARRAY(SELECT other.id::float8 FROM public.fhir_dlq AS other
                   WHERE other.resolved_at IS NULL AND other.source_table = q.source_table AND other.source_id = q.source_id
                     AND other.id <> q.id ORDER BY 1) AS others,
            CASE WHEN q.waits_for_id IS NOT NULL THEN jsonb_build_object('table', q.waits_for_table, 'id', q.waits_for_id) END AS "waitsFor",
            q.operation_outcome AS "operationOutcome", o.payload_json AS delivered
       FROM public.fhir_dlq AS q
       LEFT JOIN public.fhir_outbox AS o ON o.id = q.replay_outbox_id
       LEFT JOIN LATERAL (SELECT max(a.id) AS id FROM public.fhir_dlq AS a WHERE a.outbox_id = o.id) AS again ON true
      WHERE q.id = $1`,
    [id],
  );
  const [row] = rows;
  if (!row) return null;
  // These two never leave here: they are the patient, and what the server says of the patient.
  const { delivered, operationOutcome, ...details } = row;
  const issues = toldIssues(readOutcome(operationOutcome));
  const replay = details.replay && {
    ...details.replay,
    fhirId: toldId(details.replay.fhirId, delivered),
    version: toldId(details.replay.version, delivered),
  };
  return { ...details, issues, replay };
}

/** Ids of all unresolved dead letters whose row's state can be sent. */
export async function replayableDeadLetters(client: pg.ClientBase): Promise<number[]> {
  const { rows } = await client.query<{ id: number }>(
    'SELECT id::float8 AS id FROM public.fhir_dlq WHERE resolved_at IS NULL AND source_table IS NOT NULL ORDER BY id',
  );
  return rows.map(({ id }) => id);
}

/**
 * Writes the current state of their rows to the outbox, one event a row, and marks them replayed. Yields after each transaction
 * of some rows: what was yielded is committed, also when a later one fails.
 */
export async function* replayDeadLetters(
  client: pg.ClientBase,
  ids: readonly number[],
  reason: string | null,
): AsyncGenerator<readonly Resolution[]> {
  const { rows } = await client.query<{ ids: number[] }>(
    `SELECT array_agg(asked.id ORDER BY asked.id) AS ids
       FROM unnest($1::float8[]) AS asked (id) LEFT JOIN public.fhir_dlq AS q ON q.id = asked.id
      GROUP BY q.source_table, q.source_id ORDER BY array_position($2::text[], q.source_table), q.source_id`,
    // What is referred to goes first.
    [ids, KINDS.map(({ table }) => table)],
  );
  for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
    const some = rows.slice(from, from + ROWS_AT_ONCE).flatMap((row) => row.ids);
    const { rows: resolutions } = await client.query<Resolution>(
      `SELECT r.dead_letter_id::float8 AS id, r.result, ${SOURCE} AS source, r.outbox_id::float8 AS "outboxId"
         FROM public.fhir_replay_dead_letters($1::bigint[], $2) WITH ORDINALITY AS r (dead_letter_id, result, patient_id, outbox_id, no)
         LEFT JOIN public.fhir_dlq AS q ON q.id = r.dead_letter_id ORDER BY r.no`,
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
    `SELECT dead_letter_id::float8 AS id, result, NULL AS source, NULL AS "outboxId"
       FROM public.fhir_discard_dead_letters($1::bigint[], $2)`,
    [ids, reason],
  );
  return rows;
}

/** How many unresolved dead letters these rows still have. */
export async function unresolvedOf(client: pg.ClientBase, sources: readonly SourceRow[]): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    `SELECT count(*)::float8 AS count FROM public.fhir_dlq WHERE resolved_at IS NULL AND (source_table, source_id) IN (
       SELECT s."table", s.id FROM jsonb_to_recordset($1::jsonb) AS s("table" text, id bigint))`,
    [JSON.stringify(sources)],
  );
  return rows[0]?.count ?? 0;
}
