// Forms and readings on a real FHIR server: first contact, updates, deletes by either policy, and verify.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from './fhir-server.ts';
import { allFinished, deliveredPatient, type Setting, startSetting } from './setup.ts';
import { type Verifying, verifying } from './verifying.ts';

const RESOURCES = ['Patient', 'Encounter', 'Observation'];

interface Observation {
  readonly resourceType: string;
  readonly status?: string;
  readonly subject?: { reference: string };
  readonly encounter?: { reference: string };
  readonly valueQuantity?: { value: number };
  readonly meta?: { versionId?: string };
}

describe.each([
  ['deactivate', 1],
  ['delete', 1],
  ['deactivate', 8],
] as const)('with FHIR_DELETE=%s and FHIR_BATCH_SIZE=%i', (deletes, batchSize) => {
  let setting: Setting;
  beforeAll(async () => {
    setting = await startSetting({ deletes, batchSize, resources: RESOURCES });
  });
  afterAll(() => setting?.end());

  async function add(sql: string): Promise<number> {
    const { rows } = await setting.database.pool.query<{ id: number }>(`${sql} RETURNING id`);
    return rows[0]?.id ?? Number.NaN;
  }

  async function pathOf(table: string, id: number): Promise<string> {
    const { rows } = await setting.database.pool.query<{ path: string }>(
      `SELECT resource_type || '/' || fhir_id AS path FROM fhir_link WHERE source_table = $1 AND source_id = $2`,
      [table, id],
    );
    return rows[0]?.path ?? '';
  }

  it('a reading is there with its form and patient, has a version for each change, and goes before them', async () => {
    const { id: patient, fhirId } = await deliveredPatient(setting, 'WITH-READINGS');
    const form = await add(`INSERT INTO form (patient_id, name) VALUES (${patient}, 'Checkup')`);
    const pulse = await add(`INSERT INTO pulse (patient_id, form_id, rate) VALUES (${patient}, ${form}, 71)`);
    await setting.database.pool.query('UPDATE pulse SET rate = 72 WHERE id = $1', [pulse]);
    await allFinished(setting);
    const [encounter, observation] = [await pathOf('form', form), await pathOf('pulse', pulse)];
    expect((await ask<Observation>('GET', observation)).body).toMatchObject({
      status: 'final',
      subject: { reference: `Patient/${fhirId}` },
      encounter: { reference: encounter },
      valueQuantity: { value: 72 },
      meta: { versionId: '2' },
    });

    await setting.database.pool.query(
      `DELETE FROM pulse WHERE id = ${pulse}; DELETE FROM form WHERE id = ${form}; DELETE FROM patient WHERE id = ${patient}`,
    );
    await allFinished(setting);
    const { rows: dead } = await setting.database.pool.query('SELECT error_text FROM fhir_dlq');
    expect(dead).toEqual([]);
    for (const path of [observation, encounter, `Patient/${fhirId}`]) {
      const { status, body } = await ask<{ status?: string; active?: boolean }>('GET', path);
      if (deletes === 'delete') expect(status).toBe(410);
      else expect(body.status ?? body.active).toBe(path.startsWith('Patient') ? false : 'entered-in-error');
    }
  });
});

describe('verify', () => {
  let setting: Setting;
  let verify: Verifying;

  beforeAll(async () => {
    setting = await startSetting({ resources: RESOURCES });
    verify = verifying(setting);
  });

  afterAll(async () => {
    await verify?.end();
    await setting?.end();
  });

  it('compares what the server gave back, finds what somebody changed, and mends it', async () => {
    const { id: patient } = await deliveredPatient(setting, 'VERIFIED');
    await setting.database.pool.query(
      `INSERT INTO form (id, patient_id, name, encounter_date) VALUES (1, ${patient}, 'Checkup', '2024-01-10T09:00:00.123456Z')`,
    );
    await setting.database.pool.query(
      `INSERT INTO pulse (id, patient_id, form_id, rate, regularity, method, body_site, comment)
       SELECT n, ${patient}, 1, 60 + n, 'regular', 'palpation', 'radial', ' after  rest ' FROM generate_series(1, 3) AS n`,
    );
    await setting.database.pool.query(
      `INSERT INTO blood_pressure (id, patient_id, systolic_pressure, position) VALUES (1, ${patient}, 120, 'sitting')`,
    );
    await allFinished(setting);
    const clean = await verify.run();
    expect(clean.map(({ table, same, drift }) => [table, same, drift])).toEqual([
      ['patient', 1, []],
      ['form', 1, []],
      ['blood_pressure', 1, []],
      ['pulse', 3, []],
    ]);

    const { rows } = await setting.database.pool.query<{ fhir_id: string }>(
      `SELECT fhir_id FROM fhir_link WHERE source_table = 'pulse' ORDER BY source_id`,
    );
    const [changed = '', removed = ''] = rows.map(({ fhir_id }) => fhir_id);
    const { body } = await ask<Observation>('GET', `Observation/${changed}`);
    await ask('PUT', `Observation/${changed}`, { ...body, valueQuantity: { ...body.valueQuantity, value: 200 } });
    await ask('DELETE', `Observation/${removed}`);
    const { body: stray } = await ask<{ id: string }>('POST', 'Observation', {
      ...body,
      id: undefined,
      identifier: [{ system: (await ownSystem()) ?? '', value: 'pulse/4711' }],
    });
    const found = await verify.run();
    expect(found.find(({ table }) => table === 'pulse')?.drift).toMatchObject([
      { kind: 'differs', id: 1, fields: ['valueQuantity.value'] },
      { kind: 'missing', id: 2 },
      { kind: 'only-on-server', id: null, fhirId: stray.id },
    ]);
    expect(found.find(({ table }) => table === 'blood_pressure')?.drift).toEqual([]);
    const mended = await verify.run(true);
    expect(mended.find(({ table }) => table === 'pulse')).toMatchObject({
      repaired: [1, 2],
      drift: [{ kind: 'only-on-server' }],
    });
  });

  async function ownSystem(): Promise<string | undefined> {
    const { rows } = await setting.database.pool.query<{ uri: string }>('SELECT uri FROM fhir_own_system');
    return rows[0]?.uri;
  }
});
