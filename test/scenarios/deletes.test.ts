// Deletes, by either policy: the resource is deactivated or deleted, already gone is success, and DELETE + INSERT is an update.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allProcessed } from '../support/outbox.ts';
import { addPatient } from '../support/patients.ts';
import { type Scenario, startScenario } from '../support/scenario.ts';
import { auditTrail, inOneTransaction } from './setup.ts';

describe.each(['deactivate', 'delete'] as const)('FHIR_DELETE=%s', (deletes) => {
  let scenario: Scenario;

  beforeAll(async () => {
    scenario = await startScenario({ deletes });
  });

  afterAll(() => scenario.end());

  /** A delivered patient, and what the FHIR server calls it. */
  async function knownPatient(value: string): Promise<{ id: number; fhirId: string }> {
    const id = await addPatient(scenario.database, value);
    await allProcessed(scenario.database);
    return { id, fhirId: scenario.sink.putsOf(value)[0]?.id ?? '' };
  }

  function expectGone(value: string, fhirId: string): void {
    const { sink } = scenario;
    if (deletes === 'deactivate') {
      expect(sink.putsOf(value).at(-1)).toMatchObject({ id: fhirId, body: { active: false } });
      expect(sink.deletes).not.toContain(fhirId);
    } else {
      expect(sink.putsOf(value)).toHaveLength(1);
      expect(sink.deletes).toContain(fhirId);
    }
  }

  async function expectNoDeadLetters(): Promise<void> {
    const { rows } = await scenario.database.pool.query('SELECT error_text FROM fhir_dlq');
    expect(rows).toEqual([]);
  }

  it('ends the resource when its row is deleted, and leaves a tombstone', async () => {
    const { database } = scenario;
    const { id, fhirId } = await knownPatient('DELETED');
    await database.pool.query('DELETE FROM patient WHERE id = $1', [id]);
    await allProcessed(database);
    expectGone('DELETED', fhirId);
    const { rows } = await database.pool.query('SELECT fhir_id, deleted_at FROM fhir_link WHERE source_id = $1', [id]);
    expect(rows).toEqual([{ fhir_id: fhirId, deleted_at: expect.any(Date) }]);
    expect((await auditTrail(database, id)).map(({ fhir_resource_id }) => fhir_resource_id)).toEqual([fhirId, fhirId]);
  });

  it('takes it as done when somebody else deleted the resource before', async () => {
    const { database, sink } = scenario;
    const { id, fhirId } = await knownPatient('GONE-BEFORE');
    sink.remove(fhirId);
    await database.pool.query('DELETE FROM patient WHERE id = $1', [id]);
    await allProcessed(database);
    await expectNoDeadLetters();
    // Nor is it brought back, only to be deactivated.
    expect(sink.putsOf('GONE-BEFORE')).toHaveLength(1);
    expect(sink.deletes).not.toContain(fhirId);
  });

  it('sends nothing for a patient that never reached the server', async () => {
    const { database, sink } = scenario;
    await inOneTransaction(
      database,
      `INSERT INTO patient (id, identifier_system, identifier_value) VALUES (9001, 'urn:mrn', 'NEVER')`,
      'DELETE FROM patient WHERE id = 9001',
    );
    await allProcessed(database);
    expect(sink.putsOf('NEVER')).toEqual([]);
    expect((await auditTrail(database, 9001)).map(({ last_error }) => last_error)).toEqual([null, null]);
    await expectNoDeadLetters();
  });

  it('makes one update of DELETE and INSERT of one id in one transaction', async () => {
    const { database, sink } = scenario;
    const { id, fhirId } = await knownPatient('REWRITTEN');
    await inOneTransaction(
      database,
      `DELETE FROM patient WHERE id = ${id}`,
      `INSERT INTO patient (id, name_family, identifier_system, identifier_value) VALUES (${id}, 'Again', 'urn:mrn', 'REWRITTEN')`,
    );
    await allProcessed(database);
    const [, put, ...more] = sink.putsOf('REWRITTEN');
    expect(more).toEqual([]);
    expect(put).toMatchObject({ id: fhirId, version: 2, body: { active: true, name: [{ family: 'Again' }] } });
    expect(sink.deletes).not.toContain(fhirId);
  });

  it('lets a new row have the identifier', async () => {
    const { database, sink } = scenario;
    const { id, fhirId } = await knownPatient('REVIVED');
    await database.pool.query('DELETE FROM patient WHERE id = $1', [id]);
    await addPatient(database, 'REVIVED');
    await allProcessed(database);
    const last = sink.putsOf('REVIVED').at(-1);
    expect(last).toMatchObject({ identifier: 'urn:mrn|REVIVED', body: { active: true } });
    // A resource that was deleted on the server is not brought back by its identifier: there the row gets a new one.
    expect(last?.id === fhirId).toBe(deletes === 'deactivate');
    await expectNoDeadLetters();
  });

  it('follows a cascade: the user’s DELETE succeeds and ends the resource once', async () => {
    const { database, sink } = scenario;
    await database.pool.query(`
      ALTER TABLE patient_other_identifiers DROP CONSTRAINT patient_other_identifiers_patient_id_fkey,
        ADD FOREIGN KEY (patient_id) REFERENCES patient (id) ON DELETE CASCADE`);
    const { id, fhirId } = await knownPatient('CASCADE');
    await database.pool.query(
      `INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value)
       VALUES ($1, 'urn:ins', 'C1'), ($1, 'urn:ins', 'C2')`,
      [id],
    );
    await allProcessed(database);
    const before = sink.puts.length + sink.deletes.length;
    await database.pool.query('DELETE FROM patient WHERE id = $1', [id]);
    await allProcessed(database);
    expect(sink.puts.length + sink.deletes.length).toBe(before + 1);
    if (deletes === 'deactivate') expectGone('CASCADE', fhirId);
    else expect(sink.deletes.at(-1)).toBe(fhirId);
    await expectNoDeadLetters();
  });
});
