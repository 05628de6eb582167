// What the trigger tests look at: the outbox rows that a piece of work wrote, and short ways to make patients.

import type pg from 'pg';

interface Identifier {
  system: string | null;
  value: string;
  primary: boolean;
}

export interface OutboxEvent {
  id: string;
  txid: string;
  sequence_in_tx: number;
  table_name: string;
  record_id: number;
  operation: string;
  payload_json: Record<string, unknown>;
  patient_id: number;
  identifier_system: string | null;
  identifier_value: string | null;
  patient_revision: string;
  previous_identifiers: Identifier[] | null;
}

/** Runs `work` and returns the outbox rows that were committed meanwhile, in the order of their ids. */
export async function eventsOf(pool: pg.Pool, work: (() => Promise<unknown>) | string): Promise<OutboxEvent[]> {
  const before = await pool.query<{ id: string }>('SELECT coalesce(max(id), 0) AS id FROM fhir_outbox');
  if (typeof work === 'string') await pool.query(work);
  else await work();
  const { rows } = await pool.query<OutboxEvent>('SELECT * FROM fhir_outbox WHERE id > $1 ORDER BY id', [
    before.rows[0]?.id,
  ]);
  return rows;
}

/** Each event as "table operation patient", e.g. "patient U 7". */
export function inShort(events: OutboxEvent[]): string[] {
  return events.map((event) => `${event.table_name} ${event.operation} ${event.patient_id}`);
}

/** The payload's other identifiers as their values, in order. */
export function otherValues(event: OutboxEvent | undefined): unknown[] {
  const listed = event?.payload_json.other_identifiers as { identifier_value: unknown }[] | undefined;
  return listed?.map((identifier) => identifier.identifier_value) ?? [];
}

let created = 0;

/** Inserts a patient with a family name, an identifier of its own (the value is returned) and other identifiers. */
export async function insertPatient(
  pool: pg.Pool,
  others: string[] = [],
): Promise<{ id: number; mrn: string; others: number[] }> {
  created += 1;
  const mrn = `MRN-${created}`;
  const { rows } = await pool.query<{ id: number }>(
    "INSERT INTO patient (name_family, identifier_system, identifier_value) VALUES ('Curie', 'urn:mrn', $1) RETURNING id",
    [mrn],
  );
  const id = rows[0]?.id ?? 0;
  const inserted = await pool.query<{ id: number }>(
    `INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value)
     SELECT $1, 'urn:other', value FROM unnest($2::text[]) AS value RETURNING id`,
    [id, others],
  );
  return { id, mrn, others: inserted.rows.map((row) => row.id) };
}
