// verify against HAPI: what it gives back is what was sent, its list is read to the end, and its drift is mended.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { createFhirClient, type FhirClient } from '../../src/fhir/client.ts';
import { createLog } from '../../src/log.ts';
import { type Database, openDatabase } from '../../src/outbox/database.ts';
import { verify } from '../../src/verify/verify.ts';
import { createPatient, deletePatient, editPatient, fhirUrl, readPatient } from './fhir-server.ts';
import { allFinished, fhirIdOf, type Setting, startSetting } from './setup.ts';

let setting: Setting;
let db: Database;
let fhir: FhirClient;

beforeAll(async () => {
  setting = await startSetting();
  db = openDatabase(setting.database.config, createLog({ WORKER_ID: 'test', LOG_LEVEL: 'fatal' }));
  fhir = createFhirClient(
    { baseUrl: fhirUrl(), concurrency: 8, timeoutMs: 30_000, userAgent: 'fhir-connector/test' },
    () => undefined,
  );
});

afterAll(async () => {
  await fhir?.close();
  await db?.destroy();
  await setting?.end();
});

/** Of the patients, which are the only ones that are sent here. */
const run = async (repair = false) => {
  const { tables } = await verify(
    db,
    fhir,
    { sample: null, seed: 1, repair, profile: 'us-core', concurrency: 8 },
    { progress: () => undefined, waiting: () => undefined },
    new AbortController().signal,
  );
  const [patients] = tables;
  if (!patients) throw new Error('Nothing was verified.');
  return patients;
};

it('finds what differs among several pages of patients, and mends it', async () => {
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
