// What a scenario starts with: a database, a FHIR server that counts, and between them the connector, streaming.
import { expect, vi } from 'vitest';
import { type ConnectorOptions, type RunningConnector, startConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirLedger, tokensOf } from '../support/fhir-ledger.ts';
import { FhirSink, type Put, primaryValue } from '../support/fhir-sink.ts';

/** Generous: the machine is shared, and a scenario that works takes milliseconds. */
export const PATIENCE = { timeout: 30_000 };

interface Started {
  readonly database: TestDatabase;
  readonly connector: RunningConnector;
  end(): Promise<void>;
}

export interface Scenario extends Started {
  readonly sink: FhirSink;
}

/** All kinds of resources. */
export const ALL_RESOURCES = ['Patient', 'Encounter', 'Observation'];

export async function startScenario(options: ConnectorOptions = {}): Promise<Scenario> {
  const sink = await FhirSink.start();
  return { sink, ...(await startBefore(sink, options)) };
}

/** The same with a FHIR server that keeps a ledger and has faults. */
export interface LedgerScenario extends Started {
  readonly fhir: FhirLedger;
}

export async function startLedgerScenario(
  options: ConnectorOptions = {},
  resources?: readonly string[],
): Promise<LedgerScenario> {
  const fhir = await FhirLedger.start();
  return { fhir, ...(await startBefore(fhir, options, resources)) };
}

/** A database and a connector that streams to this server. */
async function startBefore(
  server: { readonly url: string; stop(): Promise<void> },
  options: ConnectorOptions,
  resources?: readonly string[],
): Promise<Started> {
  const database = await createDatabase('migrated', resources);
  const connector = startConnector(database, server.url, options);
  await streaming(connector);
  return {
    database,
    connector,
    async end() {
      await connector.stop();
      await database.drop();
      await server.stop();
    },
  };
}

/** The primary identifier's value in a Patient, '' without one. */
export function mrnOf(body: Record<string, unknown> | null): string {
  return tokensOf(body)[0]?.split('|')[1] ?? '';
}

export async function streaming(connector: RunningConnector): Promise<void> {
  await vi.waitFor(() => expect(connector.metrics.connectorState.get()).toBe('streaming'), PATIENCE);
}

/** Inserts a patient with this primary identifier and returns its id. */
export async function addPatient({ pool }: TestDatabase, identifier: string | null): Promise<number> {
  const { rows } = await pool.query<{ id: number }>(
    `INSERT INTO patient (name_family, name_given, birth_date, identifier_system, identifier_value)
     VALUES ('Doe', 'Jane', '1990-01-15', 'urn:mrn', $1) RETURNING id`,
    [identifier],
  );
  return rows[0]?.id ?? Number.NaN;
}

/** Runs the statements in one transaction. */
export async function inOneTransaction({ pool }: TestDatabase, ...statements: string[]): Promise<void> {
  const client = await pool.connect();
  try {
    for (const statement of ['BEGIN', ...statements, 'COMMIT']) await client.query(statement);
  } finally {
    client.release();
  }
}

/** Waits until every event in the outbox is finished. */
export async function allProcessed({ pool }: TestDatabase): Promise<void> {
  const unprocessed = async () =>
    (await pool.query<{ n: number }>('SELECT count(*)::int AS n FROM fhir_outbox WHERE NOT processed')).rows[0]?.n;
  await vi.waitFor(async () => expect(await unprocessed()).toBe(0), PATIENCE);
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

/** Adds one to the patients' phone number: whatever runs at once, their commits count 1, 2, 3 … because the row is locked. */
export const COUNT_UP = `UPDATE patient SET phone_number = (coalesce(phone_number, '0')::int + 1)::text WHERE id = ANY ($1)`;
