// Both profiles on HAPI: an identifier without system is found again, and a change of FHIR_PROFILE reaches what is there.
import { randomUUID } from 'node:crypto';
import { afterEach, expect, it } from 'vitest';
import { US_CORE_PATIENT } from '../fhir/planted-faults.ts';
import { startConnector } from '../support/connector.ts';
import { fhirUrl, patientsWith, readPatient, versionsOf } from './fhir-server.ts';
import { allFinished, deliveredPatient, fhirIdOf, type Setting, startSetting } from './setup.ts';

const UNKNOWN = [{ url: 'http://hl7.org/fhir/StructureDefinition/data-absent-reason', valueCode: 'unknown' }];
const PRIMARY = {
  'us-core': { type: { coding: [{ code: 'MR' }] }, _system: { extension: UNKNOWN } },
  r4: {},
};

let setting: Setting;

afterEach(() => setting?.end());

it.each(['us-core', 'r4'] as const)(
  'FHIR_PROFILE=%s: a patient whose identifier has no system is one resource, updated by that identifier',
  async (profile) => {
    setting = await startSetting({ profile, update: 'conditional' });
    const { pool } = setting.database;
    const value = randomUUID();
    const { rows } = await pool.query('INSERT INTO patient (identifier_value) VALUES ($1) RETURNING id', [value]);
    await allFinished(setting);
    await pool.query("UPDATE patient SET gender = 'female'");
    await allFinished(setting);
    const fhirId = (await fhirIdOf(setting, rows[0].id)) ?? '';
    expect((await patientsWith('', value)).map(({ id }) => id)).toEqual([fhirId]);
    expect((await versionsOf(fhirId)).map((patient) => patient?.gender)).toEqual(['unknown', 'female']);
    expect((await readPatient(fhirId)).identifier).toMatchObject([{ ...PRIMARY[profile], value }]);
  },
);

it('a change of FHIR_PROFILE gives and takes the claim with the next write of each patient', async () => {
  setting = await startSetting({ profile: 'r4' });
  const { id, fhirId } = await deliveredPatient(setting, 'PROFILE');
  for (const [profile, gender] of [
    ['us-core', 'male'],
    ['r4', 'female'],
  ] as const) {
    await setting.connector.stop();
    const connector = startConnector(setting.database, fhirUrl(), { timeoutMs: 30_000, profile });
    const end = async () => {
      await connector.stop();
      await setting.database.drop();
    };
    setting = { ...setting, connector, end };
    await setting.database.pool.query('UPDATE patient SET gender = $2 WHERE id = $1', [id, gender]);
    await allFinished(setting);
  }
  const versions = await versionsOf(fhirId);
  expect(versions.map((patient) => patient?.meta?.profile)).toEqual([undefined, [US_CORE_PATIENT], undefined]);
  expect(versions.map((patient) => patient?.identifier?.[0]?.type?.coding?.[0]?.code)).toEqual([
    undefined,
    'MR',
    undefined,
  ]);
});
