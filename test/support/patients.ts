// Patients of a test: added, counted up, and known again on the FHIR server.
import type { TestDatabase } from './database.ts';
import { tokensOf } from './fhir-ledger.ts';

/** All kinds of resources. */
export const ALL_RESOURCES = ['Patient', 'Encounter', 'Observation'];

/** Inserts a patient with this primary identifier and returns its id. */
export async function addPatient({ pool }: TestDatabase, identifier: string | null): Promise<number> {
  const { rows } = await pool.query<{ id: number }>(
    `INSERT INTO patient (name_family, name_given, birth_date, identifier_system, identifier_value)
     VALUES ('Doe', 'Jane', '1990-01-15', 'urn:mrn', $1) RETURNING id`,
    [identifier],
  );
  return rows[0]?.id ?? Number.NaN;
}

/** Adds one to the patients' phone number: whatever runs at once, their commits count 1, 2, 3 … because the row is locked. */
export const COUNT_UP = `UPDATE patient SET phone_number = (coalesce(phone_number, '0')::int + 1)::text WHERE id = ANY ($1)`;

/** The primary identifier's value in a Patient, '' without one. */
export function mrnOf(body: Record<string, unknown> | null): string {
  return tokensOf(body)[0]?.split('|')[1] ?? '';
}
