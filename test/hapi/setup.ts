// What a test against HAPI starts with: a database of its own, and the connector streaming from it to the FHIR server.

import { randomUUID } from 'node:crypto';
import { vi } from 'vitest';
import { type ConnectorOptions, type RunningConnector, startConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { fhirUrl } from './fhir-server.ts';

/** Generous: HAPI is slow while it warms up, and shares two cores with everything. */
const PATIENCE = { timeout: 60_000 };

export interface Setting {
  readonly database: TestDatabase;
  readonly connector: RunningConnector;
  /** An identifier system that nobody else uses: the FHIR server keeps what earlier tests left there. */
  readonly system: string;
  end(): Promise<void>;
}

/** `url` is for a connector that reaches the FHIR server by way of something else; of `resources` the changes are sent. */
export async function startSetting({
  url,
  resources,
  ...options
}: ConnectorOptions & { url?: string; resources?: readonly string[] } = {}): Promise<Setting> {
  const database = await createDatabase('migrated', resources);
  const connector = startConnector(database, url ?? fhirUrl(), { timeoutMs: 30_000, ...options });
  await Promise.race([
    vi.waitUntil(() => connector.metrics.connectorState.get() === 'streaming', PATIENCE),
    connector.done.then(() => Promise.reject(new Error('The connector ended.'))),
  ]);
  return {
    database,
    connector,
    system: `urn:uuid:${randomUUID()}`,
    async end() {
      await connector.stop();
      await database.drop();
    },
  };
}

/** Inserts a patient with this primary identifier and returns its id. */
export async function addPatient({ database, system }: Setting, value: string): Promise<number> {
  const { rows } = await database.pool.query<{ id: number }>(
    `INSERT INTO patient (name_family, name_given, birth_date, gender, identifier_system, identifier_value)
     VALUES ('Doe', 'Jane', '1990-01-15', 'female', $1, $2) RETURNING id`,
    [system, value],
  );
  return rows[0]?.id ?? Number.NaN;
}

/** Waits until every event in the outbox is finished: delivered, or a dead letter. */
export async function allFinished({ database }: Setting): Promise<void> {
  await vi.waitUntil(async () => {
    const { rows } = await database.pool.query('SELECT 1 FROM fhir_outbox WHERE NOT processed LIMIT 1');
    return rows.length === 0;
  }, PATIENCE);
}

/** The FHIR id that the connector remembers for a patient's row; null when it knows none. */
export async function fhirIdOf({ database }: Setting, patientId: number): Promise<string | null> {
  const { rows } = await database.pool.query<{ fhir_id: string | null }>(
    `SELECT fhir_id FROM fhir_link WHERE resource_type = 'Patient' AND source_id = $1`,
    [patientId],
  );
  return rows[0]?.fhir_id ?? null;
}

/** Inserts a patient, waits until it is delivered, and returns its two ids. */
export async function deliveredPatient(setting: Setting, value: string): Promise<{ id: number; fhirId: string }> {
  const id = await addPatient(setting, value);
  await allFinished(setting);
  const fhirId = await fhirIdOf(setting, id);
  if (fhirId === null) throw new Error(`The patient ${value} was not delivered.`);
  return { id, fhirId };
}
