// Deleted rows on HAPI, under both policies, and what becomes of a patient that is inserted again.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { figureOf } from '../support/connector-state.ts';
import { deletePatient, patientsWith, readPatient, versionsOf } from './fhir-server.ts';
import { addPatient, allFinished, deliveredPatient, fhirIdOf, type Setting, startSetting } from './setup.ts';
import { expectVersions } from './versions.ts';

describe.each(['deactivate', 'delete'] as const)('with FHIR_DELETE=%s', (deletes) => {
  let setting: Setting;

  beforeAll(async () => {
    setting = await startSetting({ deletes });
  });

  afterAll(() => setting?.end());

  const query = (sql: string, values: unknown[] = []) => setting.database.pool.query(sql, values);

  /** What became of a resource, version by version. */
  async function lifeOf(fhirId: string): Promise<string[]> {
    return (await versionsOf(fhirId)).map((patient) => {
      if (patient === null) return 'deleted';
      return patient.active ? 'active' : 'inactive';
    });
  }

  async function failures(): Promise<number | undefined> {
    return figureOf(setting.connector.metrics.failed);
  }

  const gone = deletes === 'delete' ? 'deleted' : 'inactive';

  it('a DELETE makes the last version', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'DELETE');
    await query('DELETE FROM patient WHERE id = $1', [id]);
    await allFinished(setting);
    expect(await lifeOf(fhirId)).toEqual(['active', gone]);
    if (deletes === 'delete') await expect(readPatient(fhirId)).rejects.toThrow('HTTP 410');
    else expect(await readPatient(fhirId)).toMatchObject({ active: false, name: [{ family: 'Doe' }] });
    expect(await failures()).toBe(0);
    await expectVersions(setting, `deleted (${deletes})`, [{ id, fhirId, commits: 2 }]);
  });

  it('a DELETE of what somebody removed there already is no failure', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'ALREADY-GONE');
    await deletePatient(fhirId);
    await query('DELETE FROM patient WHERE id = $1', [id]);
    await allFinished(setting);
    expect(await failures()).toBe(0);
    expect(await lifeOf(fhirId)).toEqual(['active', 'deleted']);
    // The one is the other's: HAPI makes no version of what is deleted already.
    await expectVersions(setting, `deleted there and here (${deletes})`, [{ id, fhirId, commits: 2 }]);
  });

  it('a row that comes back under its id is the same resource again', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'BACK');
    await query('DELETE FROM patient WHERE id = $1', [id]);
    await query(
      `INSERT INTO patient (id, name_family, identifier_system, identifier_value) VALUES ($1, 'Returned', $2, 'BACK')`,
      [id, setting.system],
    );
    await allFinished(setting);
    expect(await fhirIdOf(setting, id)).toBe(fhirId);
    expect(await lifeOf(fhirId)).toEqual(['active', gone, 'active']);
    expect(await readPatient(fhirId)).toMatchObject({ name: [{ family: 'Returned' }] });
    await expectVersions(setting, `deleted and back under its id (${deletes})`, [{ id, fhirId, commits: 3 }]);
  });

  it('a new row with the identifier of a deleted one is one living resource, and none is mixed up', async () => {
    const before = await deliveredPatient(setting, 'AGAIN');
    await query('DELETE FROM patient WHERE id = $1', [before.id]);
    const id = await addPatient(setting, 'AGAIN');
    await allFinished(setting);
    const fhirId = await fhirIdOf(setting, id);
    expect((await patientsWith(setting.system, 'AGAIN')).map((patient) => [patient.id, patient.active])).toEqual([
      [fhirId, true],
    ]);
    // A deactivated resource is adopted; to HAPI's conditional PUT one that was deleted does not exist.
    expect(fhirId === before.fhirId).toBe(deletes === 'deactivate');
    expect(await failures()).toBe(0);
    const adopted = { id, fhirId: before.fhirId, commits: 1, versions: 3 };
    if (deletes === 'deactivate')
      await expectVersions(setting, 'deleted, then a new row (deactivate)', [adopted], 'two are of the deleted row');
    else
      await expectVersions(setting, 'deleted, then a new row (delete)', [
        { ...before, commits: 2 },
        { id, fhirId: fhirId ?? '', commits: 1 },
      ]);
  });
});
