// verify against HAPI: what it gives back is what was sent, its list is read to the end, and its drift is mended.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { createPatient, deletePatient, editPatient, readPatient } from './fhir-server.ts';
import { allFinished, fhirIdOf, type Setting, startSetting } from './setup.ts';
import { type Verifying, verifying } from './verifying.ts';

let setting: Setting;
let verify: Verifying;

beforeAll(async () => {
  setting = await startSetting();
  verify = verifying(setting);
});

afterAll(async () => {
  await verify?.end();
  await setting?.end();
});

/** Of the patients, which are the only ones that are sent here. */
const run = async (repair = false) => {
  const [patients] = await verify.run(repair);
  if (!patients) throw new Error('Nothing was verified.');
  return patients;
};

it('verify finds what differs among several pages of patients, and mends it', async () => {
  // More than HAPI gives in a page, and texts that a server might not keep as they are.
  await setting.database.pool.query(
    `INSERT INTO patient (name_family, name_given, name_text, birth_date, phone_number, address_line, gender, deceased, identifier_system, identifier_value)
     SELECT 'Ünal  O''Brien ' || n, ' Jane  Ann ', E'Jane\\tAnn', '1990-01-15', ' +1-555 ', E'1 Main St\\r\\nFlat 2', 'F', n % 2 = 0, $1, 'V-' || n
       FROM generate_series(1, 520) AS n`,
    [setting.system],
  );
  await allFinished(setting);
  const clean = await run();
  expect(clean).toMatchObject({ checked: 520, same: 520, drift: [], undecided: [] });
  expect(clean.onServer).toBeGreaterThanOrEqual(520);

  const edited = (await fhirIdOf(setting, 2)) ?? '';
  const removed = (await fhirIdOf(setting, 3)) ?? '';
  await editPatient({ ...(await readPatient(edited)), gender: 'male', telecom: [] });
  await deletePatient(removed);
  const identifier = [{ system: setting.system, value: 'V-LOST' }];
  const lost = await createPatient({ resourceType: 'Patient', active: true, identifier });
  const found = await run();
  expect(found.drift).toMatchObject([
    { kind: 'differs', id: 2, fhirId: edited, fields: ['gender', 'telecom'] },
    { kind: 'missing', id: 3, fhirId: removed },
    { kind: 'only-on-server', id: null, fhirId: lost.id },
  ]);
  await expect(run(true)).resolves.toMatchObject({ repaired: [2, 3], drift: [{ kind: 'only-on-server' }] });
  expect(await readPatient(edited)).toMatchObject({ gender: 'female' });
  await deletePatient(lost.id ?? '');
  await expect(run()).resolves.toMatchObject({ same: 520, drift: [] });
});
