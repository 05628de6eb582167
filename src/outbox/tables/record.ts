// The one statement that records a group of finished deliveries: outbox rows, processed events, links, resolved dead letters.
import { sql } from 'kysely';
import type { Token } from '../../fhir/model/token.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { Database } from './database.ts';
import type { Ending } from './ending.ts';

export interface Entry {
  readonly delivery: Delivery;
  readonly ending: Ending;
  /** Its rows were removed by someone: record the event without them. */
  readonly withoutRows: boolean;
}

/** `recorded`; `invisible`: not seen by other transactions yet, repeat; `removed`: visible once, and gone now. */
export type Recorded = 'recorded' | 'invisible' | 'removed';

/** One entry as the statement reads it. What is absent is NULL there, and to a condition that is false: most is, of most entries. */
interface RecordRow {
  readonly no: number;
  readonly key: string;
  readonly type: string;
  readonly table: string;
  readonly source: number;
  readonly revision: number;
  readonly txid: number;
  readonly ids: readonly number[];
  readonly without_rows?: true | undefined;
  readonly dead: boolean;
  readonly delivered?: true | undefined;
  readonly linked?: true | undefined;
  readonly fhir_id?: string | undefined;
  readonly version?: string | undefined;
  readonly deleted?: true | undefined;
  readonly identifiers?: readonly Token[] | undefined;
  readonly error?: string | undefined;
  readonly status?: number | undefined;
  readonly outcome?: unknown;
  readonly attempts?: number | undefined;
  readonly waits_table?: string | undefined;
  readonly waits_id?: number | undefined;
}

const RECORD_COLUMNS =
  sql.raw(`AS d(no int, key text, type text, "table" text, source bigint, revision bigint, txid bigint, ids bigint[],
  without_rows boolean, dead boolean, delivered boolean, linked boolean, fhir_id text, version text, deleted boolean, identifiers jsonb,
  error text, status int, outcome jsonb, attempts int, waits_table text, waits_id bigint)`);

/**
 * Records all entries in one commit and says of each how it went. A commit can reach us through the slot before other
 * connections see it: an entry counts only when all its outbox rows were really updated.
 */
export async function recordGroup(db: Database, entries: readonly Entry[]): Promise<Recorded[]> {
  const asked = entries.map(toRow);
  const rows = JSON.stringify(asked);
  const withIdentifiers = asked.some(({ identifiers }) => identifiers !== undefined);
  const letGo = entries.some(({ ending }) => ending.kind === 'delivered' && ending.firstContact);
  const dead = entries.some(({ ending }) => ending.kind === 'dead');
  const incomplete =
    letGo || dead
      ? await db.transaction().execute(async (transaction) => {
          if (letGo) await clearAdoptedLinks(transaction, rows);
          const missed = await record(transaction, rows, withIdentifiers);
          if (dead) await moveDeadLetters(transaction, rows, missed);
          return missed;
        })
      : await record(db, rows, withIdentifiers);
  const visible = new Map(incomplete.map((entry) => [entry.no, entry.visible]));
  return entries.map((_, no) => {
    if (!visible.has(no)) return 'recorded';
    return visible.get(no) ? 'removed' : 'invisible';
  });
}

/** The identifier of a deleted row is free: whose resource is found by it takes that over, and the deleted row's link ends with the same commit. */
async function clearAdoptedLinks(db: Database, rows: string): Promise<void> {
  await sql`
    UPDATE fhir_link l SET fhir_id = NULL, version_id = NULL, updated_at = now()
      FROM jsonb_to_recordset(${rows}::jsonb) ${RECORD_COLUMNS}
     WHERE d.linked AND l.resource_type = d.type AND l.fhir_id = d.fhir_id AND (l.source_table, l.source_id) <> (d."table", d.source)
       AND l.deleted_at IS NOT NULL`.execute(db);
}

/** An entry of which not all outbox rows were found. */
interface Incomplete {
  readonly no: number;
  /** Its transaction is visible: the rows were there and are gone. */
  readonly visible: boolean;
}

/** Nearly half of the planning of the whole statement is for these; most groups change no identifier. */
const IDENTIFIERS_KEPT = sql`
    dropped AS (
      DELETE FROM fhir_link_identifier i USING done
       WHERE done.linked AND done.identifiers IS NOT NULL AND i.resource_type = done.type AND i.source_id = done.source
         AND NOT done.identifiers @> jsonb_build_array(jsonb_build_object('system', i.system, 'value', i.value))),
    kept AS (
      INSERT INTO fhir_link_identifier (resource_type, system, value, source_id)
      SELECT done.type, t.system, t.value, done.source
        FROM done, jsonb_to_recordset(done.identifiers) AS t(system text, value text)
       WHERE (done.linked OR done.dead) AND done.identifiers IS NOT NULL
      ON CONFLICT DO NOTHING),`;

async function record(db: Database, rows: string, withIdentifiers: boolean): Promise<Incomplete[]> {
  const { rows: incomplete } = await sql<Incomplete>`
    WITH d AS MATERIALIZED (SELECT * FROM jsonb_to_recordset(${rows}::jsonb) ${RECORD_COLUMNS}),
    r AS (SELECT d.no, d.dead, d.fhir_id, d.version, d.error, unnest(d.ids) AS id FROM d),
    -- (What is a dead letter is marked as processed by moveDeadLetters, in the same transaction.)
    updated AS (
      UPDATE fhir_outbox o
         SET processed = NOT r.dead, processed_at = now(), fhir_resource_id = r.fhir_id, fhir_version = r.version,
             last_error = r.error, next_retry_at = NULL
        FROM r WHERE o.id = r.id
      RETURNING r.no),
    found AS (SELECT no, count(*) AS rows FROM updated GROUP BY no),
    done AS (
      SELECT d.* FROM d LEFT JOIN found ON found.no = d.no
       WHERE d.without_rows OR found.rows = cardinality(d.ids)),
    event AS (INSERT INTO fhir_processed_event (event_key) SELECT key FROM done ORDER BY key ON CONFLICT DO NOTHING),
    link AS (
      INSERT INTO fhir_link AS l (resource_type, source_table, source_id, fhir_id, version_id, last_revision, deleted_at, updated_at)
      SELECT type, "table", source, fhir_id, version, revision, CASE WHEN deleted THEN now() END, now() FROM done WHERE linked
       ORDER BY "table", source
      ON CONFLICT (source_table, source_id) DO UPDATE
         SET fhir_id = EXCLUDED.fhir_id, version_id = EXCLUDED.version_id, last_revision = EXCLUDED.last_revision,
             deleted_at = EXCLUDED.deleted_at, updated_at = now()
       WHERE l.last_revision < EXCLUDED.last_revision),
    ${withIdentifiers ? IDENTIFIERS_KEPT : sql``}
    resolved AS (
      UPDATE fhir_dlq q SET resolved_at = now(), resolution = 'superseded' FROM done
       WHERE done.delivered AND q.resolved_at IS NULL AND q.source_table = done."table" AND q.source_id = done.source
         AND q.patient_revision <= done.revision)
    SELECT d.no, pg_visible_in_snapshot(d.txid::text::xid8, pg_current_snapshot()) AS visible
      FROM d LEFT JOIN done ON done.no = d.no WHERE done.no IS NULL`.execute(db);
  return incomplete;
}

/** All but the `incomplete` ones: those are repeated as a whole. */
async function moveDeadLetters(db: Database, rows: string, incomplete: readonly Incomplete[]): Promise<void> {
  await sql`
    SELECT fhir_move_outbox_to_dlq(id, error, status, outcome, attempts)
      FROM (SELECT d.*, unnest(d.ids) AS id FROM jsonb_to_recordset(${rows}::jsonb) ${RECORD_COLUMNS}
             WHERE d.dead AND d.no <> ALL (${incomplete.map(({ no }) => no)}::int[])) AS dead`.execute(db);
  await sql`
    UPDATE fhir_dlq q SET waits_for_table = d.waits_table, waits_for_id = d.waits_id
      FROM jsonb_to_recordset(${rows}::jsonb) ${RECORD_COLUMNS}
     WHERE d.dead AND d.waits_id IS NOT NULL AND q.outbox_id = ANY (d.ids) AND q.resolved_at IS NULL`.execute(db);
}

function toRow({ delivery, ending, withoutRows }: Entry, no: number): RecordRow {
  const delivered = ending.kind === 'delivered' ? ending : null;
  const dead = ending.kind === 'dead' ? ending : null;
  return {
    no,
    key: delivery.eventKey,
    type: delivery.resourceType,
    table: delivery.table,
    source: delivery.sourceId,
    revision: delivery.revision,
    txid: delivery.txid,
    ids: delivery.outboxIds,
    dead: dead !== null,
    without_rows: withoutRows || undefined,
    delivered: delivered ? true : undefined,
    linked: delivered?.fhirId != null || undefined,
    fhir_id: delivered?.fhirId ?? undefined,
    version: delivered?.versionId ?? undefined,
    deleted: delivered?.deleted || undefined,
    identifiers: delivered?.identifiers ?? dead?.mayCarry ?? undefined,
    error: ending.kind === 'superseded' ? 'superseded by a newer state' : dead?.reason,
    status: dead?.httpStatus ?? undefined,
    outcome: dead?.operationOutcome,
    attempts: dead?.attempts,
    waits_table: dead?.waitsFor?.table,
    waits_id: dead?.waitsFor?.sourceId,
  };
}
