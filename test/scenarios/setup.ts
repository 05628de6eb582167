// What scenarios look at: transactions of several statements, a patient's trail in the outbox, and how far its counter came.
import type { TestDatabase } from '../support/database.ts';
import { type Put, primaryValue } from '../support/fhir-sink.ts';

/** Runs the statements in one transaction. */
export async function inOneTransaction({ pool }: TestDatabase, ...statements: string[]): Promise<void> {
  const client = await pool.connect();
  try {
    for (const statement of ['BEGIN', ...statements, 'COMMIT']) await client.query(statement);
  } finally {
    client.release();
  }
}

interface AuditRow {
  id: number;
  txid: string;
  fhir_resource_id: string | null;
  fhir_version: string | null;
  last_error: string | null;
}

/** A patient's outbox rows, in the order of its changes. */
export async function auditTrail({ pool }: TestDatabase, patientId: number): Promise<AuditRow[]> {
  const { rows } = await pool.query<AuditRow>(
    `SELECT id::int, txid, fhir_resource_id, fhir_version, last_error FROM fhir_outbox
      WHERE patient_id = $1 AND processed ORDER BY patient_revision`,
    [patientId],
  );
  return rows;
}

/** Each patient's counter (see COUNT_UP) as the applied PUTs carried it, in order. */
export function countsOf(puts: readonly Put[]): Map<string, number[]> {
  const counts = new Map<string, number[]>();
  for (const { body } of puts) {
    const value = primaryValue(body);
    const count = Number((body.telecom as { value: string }[] | undefined)?.[0]?.value ?? 0);
    counts.set(value, [...(counts.get(value) ?? []), count]);
  }
  return counts;
}
