// A patient's row and its resource on HAPI: created once, updated by id, a version for each transaction, in order.

import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { patientsWith, phonesOf, readPatient, versionsOf } from './fhir-server.ts';
import { addPatient, allFinished, deliveredPatient, fhirIdOf, type Setting, startSetting } from './setup.ts';
import { type Counted, expectVersions } from './versions.ts';

let setting: Setting;

const query = (sql: string, values: unknown[] = []) => setting.database.pool.query(sql, values);

/** Whether anything went in a Bundle. */
async function bundled(): Promise<boolean> {
  const { values } = await setting.connector.metrics.bundlePatients.get();
  return values.some(({ metricName, value }) => metricName === 'fhir_bundle_patients_count' && value > 0);
}

describe.each([1, 8])('with FHIR_BATCH_SIZE=%i, an INSERT', (batchSize) => {
  beforeAll(async () => {
    setting = await startSetting({ batchSize, concurrency: 4 });
  });

  afterAll(() => setting?.end());

  it('creates one Patient, and HAPI keeps all of it', async () => {
    const { rows } = await query(
      `INSERT INTO patient (active, name_family, name_given, birth_date, gender, identifier_system, identifier_value,
                            phone_number, email, address_line, address_city, address_state, address_postal_code, address_country)
       VALUES (true, 'Smith', 'John', '1990-01-15', 'male', $1, 'MRN|1,2 %\\', '+1-555-123-4567', 'john.smith@example.com',
               '123 Main Street', 'Boston', 'MA', '02101', 'USA') RETURNING id`,
      [setting.system],
    );
    await allFinished(setting);
    const fhirId = await fhirIdOf(setting, rows[0].id);
    const { meta, id, text: _narrative, ...content } = await readPatient(fhirId ?? '');
    expect({ id, version: meta?.versionId }).toEqual({ id: fhirId, version: '1' });
    expect(meta?.profile).toEqual(['http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient']);
    expect(content).toEqual({
      resourceType: 'Patient',
      identifier: [
        {
          type: {
            coding: [
              { system: 'http://terminology.hl7.org/CodeSystem/v2-0203', code: 'MR', display: 'Medical record number' },
            ],
          },
          system: setting.system,
          value: 'MRN|1,2 %\\',
        },
      ],
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
    await expectVersions(setting, `created (in Bundles of ${batchSize} at most)`, [
      { id: rows[0].id, fhirId: id ?? '', commits: 1 },
    ]);
  });

  it('of many patients at once creates each of them once', async () => {
    const values = Array.from({ length: 30 }, (_, n) => `AT-ONCE-${n}`);
    const ids = await Promise.all(values.map((value) => addPatient(setting, value)));
    await allFinished(setting);
    const fhirIds = await Promise.all(ids.map((id) => fhirIdOf(setting, id)));
    expect(new Set(fhirIds).size).toBe(values.length);
    for (const [at, value] of values.entries())
      expect((await patientsWith(setting.system, value)).map(({ id }) => id)).toEqual([fhirIds[at]]);
    const patients = ids.map((id, at) => ({ id, fhirId: fhirIds[at] ?? '', commits: 1 }));
    const scenario = `thirty created at once, three of them (in Bundles of ${batchSize} at most)`;
    await expectVersions(setting, scenario, patients.slice(0, 3));
  });
});

describe.each([
  { update: 'by-id', batchSize: 1 },
  { update: 'conditional', batchSize: 1 },
  { update: 'by-id', batchSize: 8 },
  { update: 'conditional', batchSize: 8 },
] as const)('with FHIR_UPDATE=$update and FHIR_BATCH_SIZE=$batchSize, an UPDATE', ({ update, batchSize }) => {
  beforeAll(async () => {
    setting = await startSetting({ update, batchSize, concurrency: 4 });
  });

  afterAll(() => setting?.end());

  const versions = (scenario: string, ...rest: [Counted[], string?]) =>
    expectVersions(setting, `${scenario} (${update}${batchSize > 1 ? ', in Bundles' : ''})`, ...rest);

  it('makes a version of the same resource, and the outbox row names it', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'UPDATE');
    await query(`UPDATE patient SET phone_number = '+1-555-1' WHERE id = $1`, [id]);
    await allFinished(setting);
    expect(await phonesOf(fhirId)).toEqual([undefined, '+1-555-1']);
    const { rows } = await query(
      'SELECT fhir_resource_id, fhir_version FROM fhir_outbox WHERE patient_id = $1 ORDER BY patient_revision',
      [id],
    );
    expect(rows).toEqual([
      { fhir_resource_id: fhirId, fhir_version: '1' },
      { fhir_resource_id: fhirId, fhir_version: '2' },
    ]);
    await versions('updated', [{ id, fhirId, commits: 2 }]);
  });

  it('thirty times as fast as PostgreSQL commits makes thirty versions, in the order of the commits', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'RAPID');
    const phones = Array.from({ length: 30 }, (_, n) => `+1-555-${n}`);
    for (const phone of phones) await query('UPDATE patient SET phone_number = $2 WHERE id = $1', [id, phone]);
    await allFinished(setting);
    expect(await phonesOf(fhirId)).toEqual([undefined, ...phones]);
    await versions('thirty rapid updates', [{ id, fhirId, commits: 31 }]);
  });

  it('of two patients in turn, as fast as PostgreSQL commits, makes the versions of each in its order', async () => {
    const both = [await deliveredPatient(setting, 'TURN-1'), await deliveredPatient(setting, 'TURN-2')];
    const phones = Array.from({ length: 10 }, (_, n) => `+1-555-${n}`);
    for (const phone of phones)
      for (const { id } of both) await query('UPDATE patient SET phone_number = $2 WHERE id = $1', [id, phone]);
    await allFinished(setting);
    for (const { fhirId } of both) expect(await phonesOf(fhirId)).toEqual([undefined, ...phones]);
    await versions(
      'two patients in turn',
      both.map((each) => ({ ...each, commits: 11 })),
    );
  });

  it('of many patients at once, again and again, makes the versions of each in its order', async () => {
    const patients = await Promise.all(Array.from({ length: 20 }, (_, n) => deliveredPatient(setting, `MANY-${n}`)));
    const ids = patients.map(({ id }) => id);
    const phones = Array.from({ length: 5 }, (_, n) => `+1-555-${n}`);
    for (const phone of phones) await query('UPDATE patient SET phone_number = $2 WHERE id = ANY ($1)', [ids, phone]);
    await allFinished(setting);
    for (const { fhirId } of patients) expect(await phonesOf(fhirId)).toEqual([undefined, ...phones]);
    expect(await bundled()).toBe(batchSize > 1);
    await versions(
      'many patients at once, three of them',
      patients.slice(0, 3).map((each) => ({ ...each, commits: 6 })),
    );
  });

  it('three times in one transaction makes one version', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'GROUP');
    await query(`BEGIN;
      UPDATE patient SET phone_number = '+1-555-1' WHERE id = ${id};
      INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value) VALUES (${id}, 'urn:insurance', 'INS-1');
      UPDATE patient SET phone_number = '+1-555-2' WHERE id = ${id};
      COMMIT`);
    await allFinished(setting);
    const [, grouped] = await versionsOf(fhirId);
    expect(grouped).toMatchObject({
      identifier: [
        { type: { coding: [{ code: 'MR' }] }, system: setting.system, value: 'GROUP' },
        { system: 'urn:insurance', value: 'INS-1' },
      ],
      telecom: [{ system: 'phone', value: '+1-555-2' }],
      name: [{ family: 'Doe' }],
    });
    await versions('three changes in a transaction', [{ id, fhirId, commits: 2 }]);
  });

  const keeps = inject('keepsUnchanged');

  it(`that changes nothing makes ${keeps ? 'no version' : 'a version like any'}, and its outbox row names the one that the server has`, async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'SAME');
    await query('UPDATE patient SET name_family = name_family WHERE id = $1', [id]);
    await allFinished(setting);
    const { rows } = await query('SELECT fhir_version FROM fhir_outbox WHERE patient_id = $1 ORDER BY id', [id]);
    expect(rows).toEqual([{ fhir_version: '1' }, { fhir_version: keeps ? '1' : '2' }]);
    if (keeps)
      await versions('updated without a change', [{ id, fhirId, commits: 2, versions: 1 }], 'HAPI keeps the version');
    else await versions('updated without a change', [{ id, fhirId, commits: 2 }]);
  });
});
