// Every INSERT, UPDATE and DELETE on patient and patient_other_identifiers reaches the FHIR server, with an audit trail.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from '../../src/schema/migrate.ts';
import { allProcessed } from '../support/outbox.ts';
import { addPatient } from '../support/patients.ts';
import { type Scenario, startScenario } from '../support/scenario.ts';
import { auditTrail, inOneTransaction } from './setup.ts';

/** Of every primary identifier. */
const type = {
  coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0203', code: 'MR', display: 'Medical record number' }],
};

let scenario: Scenario;

beforeAll(async () => {
  scenario = await startScenario();
});

afterAll(() => scenario.end());

describe('INSERT', () => {
  it('creates the Patient by its identifier, as the mapping of the design has it', async () => {
    const { database, sink } = scenario;
    const client = await database.pool.connect();
    await migrate(client, { sample: true });
    client.release();
    await allProcessed(database);
    const [put, ...more] = sink.putsOf('MRN-001234');
    expect(more).toEqual([]);
    expect(put).toMatchObject({ version: 1, identifier: 'https://hospital.example.com/mrn|MRN-001234', ifMatch: null });
    expect(put?.body).toEqual({
      resourceType: 'Patient',
      meta: { profile: ['http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient'] },
      identifier: [{ type, system: 'https://hospital.example.com/mrn', value: 'MRN-001234' }],
      active: true,
      name: [{ text: 'John Smith', family: 'Smith', given: ['John'] }],
      telecom: [
        { system: 'phone', value: '+1-555-123-4567' },
        { system: 'email', value: 'john.smith@example.com' },
      ],
      gender: 'male',
      birthDate: '1990-01-15',
      address: [{ line: ['123 Main Street'], city: 'Boston', state: 'MA', postalCode: '02101', country: 'USA' }],
    });
    expect(sink.values.toSorted()).toEqual(['MRN-001234', 'MRN-003456', 'MRN-005678', 'MRN-007890', 'MRN-009012']);
  });
});

describe('the life of a patient', () => {
  it('is one resource with a version for each change, and each outbox row names its version', async () => {
    const { database, sink } = scenario;
    const id = await addPatient(database, 'LIFE');
    const changes = [
      `UPDATE patient SET phone_number = '+1-555-1' WHERE id = ${id}`,
      `INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value) VALUES (${id}, 'urn:ins', 'A')`,
      `UPDATE patient_other_identifiers SET identifier_value = 'B' WHERE patient_id = ${id}`,
      `DELETE FROM patient_other_identifiers WHERE patient_id = ${id}`,
      `DELETE FROM patient WHERE id = ${id}`,
    ];
    for (const change of changes) await database.pool.query(change);
    await allProcessed(database);

    const puts = sink.putsOf('LIFE');
    const primary = { type, system: 'urn:mrn', value: 'LIFE' };
    expect(
      puts.map(({ version, ifMatch, body: { identifier, telecom, active } }) => ({
        version,
        ifMatch,
        identifier,
        phone: (telecom as { value: string }[] | undefined)?.[0]?.value,
        active,
      })),
    ).toEqual([
      { version: 1, ifMatch: null, identifier: [primary], phone: undefined, active: true },
      { version: 2, ifMatch: 'W/"1"', identifier: [primary], phone: '+1-555-1', active: true },
      ...[
        { version: 3, ifMatch: 'W/"2"', identifier: [primary, { system: 'urn:ins', value: 'A' }] },
        { version: 4, ifMatch: 'W/"3"', identifier: [primary, { system: 'urn:ins', value: 'B' }] },
        { version: 5, ifMatch: 'W/"4"', identifier: [primary] },
      ].map((put) => ({ ...put, phone: '+1-555-1', active: true })),
      { version: 6, ifMatch: 'W/"5"', identifier: [primary], phone: '+1-555-1', active: false },
    ]);
    const fhirId = puts[0]?.id;
    expect(puts.every((put) => put.id === fhirId)).toBe(true);

    const trail = await auditTrail(database, id);
    expect(trail.map(({ fhir_version }) => fhir_version)).toEqual(['1', '2', '3', '4', '5', '6']);
    expect(trail.every(({ fhir_resource_id }) => fhir_resource_id === fhirId)).toBe(true);
    const events = await database.pool.query(
      `SELECT event_key FROM fhir_processed_event WHERE event_key LIKE $1 ORDER BY id`,
      [`Patient/${id}/%`],
    );
    expect(events.rows.map(({ event_key }) => event_key)).toEqual([1, 2, 3, 4, 5, 6].map((n) => `Patient/${id}/${n}`));
  });

  it('leaves a line in the log that links transaction, outbox row and FHIR version', async () => {
    const { database, connector } = scenario;
    const id = await addPatient(database, 'LOGGED');
    await allProcessed(database);
    const [row] = await auditTrail(database, id);
    const line = connector.log.find(({ eventKey }) => eventKey === `Patient/${id}/1`);
    expect(line).toMatchObject({
      msg: 'delivered',
      txid: Number(row?.txid),
      outboxIds: [row?.id],
      fhirId: row?.fhir_resource_id,
      version: '1',
    });
    expect(JSON.stringify(connector.log)).not.toContain('LOGGED');
  });
});

describe('a transaction that is rolled back', () => {
  it('reaches nobody', async () => {
    const { database, sink } = scenario;
    const id = await addPatient(database, 'KEPT');
    await inOneTransaction(database, `UPDATE patient SET name_family = 'Never' WHERE id = ${id}`, 'ROLLBACK');
    await inOneTransaction(
      database,
      `UPDATE patient SET name_family = 'Kept' WHERE id = ${id}`,
      'SAVEPOINT part',
      `UPDATE patient SET name_given = 'Never' WHERE id = ${id}`,
      'ROLLBACK TO part',
    );
    await allProcessed(database);
    expect(sink.putsOf('KEPT').map(({ body }) => body.name)).toEqual([
      [{ text: 'Jane Doe', family: 'Doe', given: ['Jane'] }],
      [{ text: 'Jane Kept', family: 'Kept', given: ['Jane'] }],
    ]);
  });
});
