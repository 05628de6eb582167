// Others write to HAPI too: their edits are overwritten and counted, and what cannot be decided here is a dead letter.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFhirClient } from '../../src/fhir/client.ts';
import { createPatient, deletePatient, editPatient, fhirUrl, readPatient, versionsOf } from './fhir-server.ts';
import { addPatient, allFinished, deliveredPatient, fhirIdOf, type Setting, startSetting } from './setup.ts';

let setting: Setting;

beforeAll(async () => {
  setting = await startSetting();
});

afterAll(() => setting?.end());

const query = (sql: string, values: unknown[] = []) => setting.database.pool.query(sql, values);

async function foreignEdits(): Promise<number> {
  return (await setting.connector.metrics.foreignEdits.get()).values[0]?.value ?? Number.NaN;
}

describe('an edit by somebody else', () => {
  it('is overwritten by the next change of the row, counted and logged without patient data', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'FOREIGN');
    const before = await foreignEdits();
    await editPatient({ ...(await readPatient(fhirId)), name: [{ family: 'Edited-There' }], gender: 'unknown' });
    await query(`UPDATE patient SET phone_number = '+1-555-1' WHERE id = $1`, [id]);
    await allFinished(setting);

    expect((await versionsOf(fhirId)).map((patient) => patient?.name?.[0]?.family)).toEqual([
      'Doe',
      'Edited-There',
      'Doe',
    ]);
    expect(await readPatient(fhirId)).toMatchObject({ gender: 'female', telecom: [{ value: '+1-555-1' }] });
    expect(await foreignEdits()).toBe(before + 1);
    expect(setting.connector.log.filter(({ msg }) => msg.startsWith('Somebody else changed'))).toHaveLength(1);
    expect(JSON.stringify(setting.connector.log)).not.toMatch(/Edited-There|Doe|FOREIGN/);
  });

  it('that removed the resource is undone under the same id', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'REMOVED');
    await deletePatient(fhirId);
    await query(`UPDATE patient SET phone_number = '+1-555-1' WHERE id = $1`, [id]);
    await allFinished(setting);
    expect(await fhirIdOf(setting, id)).toBe(fhirId);
    expect((await versionsOf(fhirId)).map((patient) => patient?.active)).toEqual([true, undefined, true]);
  });
});

describe('a stale If-Match', () => {
  it('gets 409 on a PUT by id, and HAPI keeps the resource as it is', async () => {
    const { fhirId } = await deliveredPatient(setting, 'STALE');
    await editPatient({ ...(await readPatient(fhirId)), gender: 'other' });
    const client = createFhirClient(
      { baseUrl: fhirUrl(), concurrency: 1, timeoutMs: 30_000, userAgent: 'fhir-connector/test' },
      () => undefined,
    );
    const identifier = [{ system: setting.system, value: 'STALE' }];
    const resource = { resourceType: 'Patient' as const, identifier, gender: 'male' as const };
    expect(await client.putById(resource, fhirId, '1', 'stale-0001')).toMatchObject({
      ok: false,
      fault: { status: 409, code: 'stale-version', disposition: 'conflict' },
    });
    expect(await readPatient(fhirId)).toMatchObject({ gender: 'other', meta: { versionId: '2' } });
    expect(await client.putById(resource, fhirId, '2', 'fresh-0002')).toMatchObject({ ok: true, versionId: '3' });
    await client.close();
  });
});

describe('several resources with the identifier of a new row', () => {
  it('make its event a dead letter with the reason, touch neither of them, and hold nobody else up', async () => {
    const identifier = [{ system: setting.system, value: 'TWICE' }];
    const twins = [
      await createPatient({ resourceType: 'Patient', identifier, gender: 'male' }),
      await createPatient({ resourceType: 'Patient', identifier, gender: 'female' }),
    ];
    const id = await addPatient(setting, 'TWICE');
    await deliveredPatient(setting, 'BYSTANDER');

    const { rows } = await query(
      'SELECT http_status, error_text, operation_outcome FROM fhir_dlq WHERE patient_id = $1',
      [id],
    );
    expect(rows).toEqual([
      {
        http_status: 412,
        error_text: expect.stringContaining('Several resources on the FHIR server have this identifier'),
        operation_outcome: expect.objectContaining({ resourceType: 'OperationOutcome' }),
      },
    ]);
    expect(await fhirIdOf(setting, id)).toBeNull();
    for (const twin of twins)
      expect(await readPatient(twin.id ?? '')).toMatchObject({ gender: twin.gender, meta: { versionId: '1' } });
  });
});
