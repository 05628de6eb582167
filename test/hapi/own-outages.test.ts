// HAPI killed in the middle of work, without its database, and back without what it had: nothing is lost or mixed up.

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { figureOf } from '../support/connector-state.ts';
import { ask, patientsWith, readPatient, versionsOf } from './fhir-server.ts';
import { ownHapi } from './own-hapi.ts';
import { createHapiDatabase, type HapiDatabase } from './own-hapi-database.ts';
import { addPatient, allFinished, fhirIdOf, type Setting, startSetting } from './setup.ts';

const PATIENTS = 20;
const PATIENCE = { timeout: 60_000 };

const hapi = ownHapi();
let hapiDatabase: HapiDatabase;
let setting: Setting;
/** What was committed of each patient: its telephone numbers, one after the other. */
const committed = new Map<number, string[]>();

beforeAll(async () => {
  hapiDatabase = await createHapiDatabase();
  await hapi.start({ database: hapiDatabase });
  // HAPI's pool waits 30 seconds for a connection.
  setting = await startSetting({ timeoutMs: 60_000 });
  for (let n = 0; n < PATIENTS; n += 1) committed.set(await addPatient(setting, `P-${n}`), []);
  await allFinished(setting);
});

afterAll(async () => {
  await setting?.end();
  await hapi.stop();
  await hapiDatabase?.drop();
});

const query = (sql: string, values: unknown[] = []) => setting.database.pool.query(sql, values);

/** Commits a change of each patient, so many times; the numbers go on from one call to the next. */
async function change(times: number): Promise<void> {
  for (let n = 0; n < times; n += 1)
    for (const [id, phones] of committed) {
      const phone = `+1-555-${id}-${phones.length}`;
      await query('UPDATE patient SET phone_number = $2 WHERE id = $1', [id, phone]);
      phones.push(phone);
    }
}

async function fhirIds(): Promise<Map<number, string>> {
  const ids = [...committed.keys()];
  return new Map(await Promise.all(ids.map(async (id) => [id, (await fhirIdOf(setting, id)) ?? ''] as const)));
}

const phonesOf = async (fhirId: string) => (await versionsOf(fhirId)).map((patient) => patient?.telecom?.[0]?.value);

/** Each commit made one version of the patient's one resource, in their order, and nothing counts as a failure. */
async function expectAVersionForEachCommit(): Promise<void> {
  for (const [id, fhirId] of await fhirIds())
    expect(await phonesOf(fhirId)).toEqual([undefined, ...(committed.get(id) ?? [])]);
  await expectNoFailures();
}

async function expectNoFailures(): Promise<void> {
  const { rows } = await query(
    'SELECT (SELECT count(*)::int FROM fhir_dlq) AS dead, (SELECT max(attempts) FROM fhir_outbox) AS attempts',
  );
  expect(rows).toEqual([{ dead: 0, attempts: 0 }]);
  expect((await figureOf(setting.connector.metrics.foreignEdits)) ?? 0).toBe(0);
}

async function unfinished(): Promise<number> {
  const { rows } = await query('SELECT count(*)::int AS count FROM fhir_outbox WHERE NOT processed');
  return rows[0].count;
}

async function calls(code: string): Promise<number> {
  const { values } = await setting.connector.metrics.callErrors.get();
  return values.find(({ labels }) => labels.code === code)?.value ?? 0;
}

describe('HAPI', () => {
  it('killed in the middle of a stream of changes and started again has a version for each commit', async () => {
    await change(10);
    await vi.waitUntil(async () => (await unfinished()) < 8 * PATIENTS, PATIENCE);
    await hapi.kill();
    expect(await unfinished()).toBeGreaterThan(0);
    await Promise.all([hapi.start({ database: hapiDatabase }), change(5)]);
    await allFinished(setting);
    await expectAVersionForEachCommit();
    expect(setting.connector.log).toContainEqual(expect.objectContaining({ state: 'outage' }));
  });

  it('without its database refuses everything but /metadata; all is delivered when it is back', async () => {
    await hapiDatabase.goAway();
    await change(1);
    const [fhirId] = (await fhirIds()).values();
    const { status, body } = await ask('GET', `Patient/${fhirId}`);
    expect({ status, body: JSON.stringify(body) }).toEqual({ status: 500, body: expect.stringContaining('HAPI-0389') });
    expect((await ask('GET', 'metadata')).status).toBe(200);
    await vi.waitUntil(async () => (await calls('http-500')) > 0, PATIENCE);
    await change(1);
    expect(await unfinished()).toBe(2 * PATIENTS);
    hapiDatabase.comeBack();
    await allFinished(setting);
    await expectAVersionForEachCommit();
  });

  it('that comes back without what it had gets each patient again, as one resource that the link names', async () => {
    await hapi.stop();
    await hapi.start({});
    const [first = ''] = [...(await fhirIds()).values()];
    const { status, body } = await ask('PUT', `Patient/${first}`, { resourceType: 'Patient', id: first });
    expect({ status, body: JSON.stringify(body) }).toEqual({ status: 400, body: expect.stringContaining('HAPI-0960') });
    // The last first: HAPI gives away again the ids that the others had.
    for (const id of [...committed.keys()].toReversed())
      await query(`UPDATE patient SET gender = 'male' WHERE id = $1`, [id]);
    await allFinished(setting);
    const now = await fhirIds();
    expect(new Set(now.values()).size).toBe(PATIENTS);
    for (const [at, [id, fhirId]] of [...now].entries()) {
      expect((await patientsWith(setting.system, `P-${at}`)).map((patient) => patient.id)).toEqual([fhirId]);
      expect(await readPatient(fhirId)).toMatchObject({
        gender: 'male',
        telecom: [{ value: committed.get(id)?.at(-1) }],
      });
    }
    await expectNoFailures();
  });
});
