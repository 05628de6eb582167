// Rows of fhir_outbox that no trigger wrote.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startConnector } from '../support/connector.ts';
import { allProcessed } from '../support/outbox.ts';
import { addPatient } from '../support/patients.ts';
import { type Scenario, startScenario } from '../support/scenario.ts';

let scenario: Scenario;

beforeAll(async () => {
  scenario = await startScenario();
});

afterAll(() => scenario.end());

it('an event that was given the revision of a recorded one is superseded by that, and does not stay unprocessed', async () => {
  const { database, connector, sink } = scenario;
  await addPatient(database, 'A');
  await allProcessed(database);
  // What comes while nobody streams is looked up before it is sent.
  await connector.stop();
  const { rows } = await database.pool.query<{ id: string }>(
    `INSERT INTO fhir_outbox (txid, table_name, record_id, operation, payload_json, patient_id, patient_revision)
     SELECT pg_current_xact_id()::text::bigint, table_name, record_id, 'U', payload_json, patient_id, patient_revision FROM fhir_outbox
     RETURNING id`,
  );
  const next = startConnector(database, sink.url);
  await allProcessed(database);
  await next.stop();
  const [again] = (await database.pool.query('SELECT last_error FROM fhir_outbox WHERE id = $1', [rows[0]?.id])).rows;
  expect(again).toEqual({ last_error: 'superseded by a newer state' });
});
