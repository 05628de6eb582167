// Others write to HAPI too: their edits are overwritten and counted, and what cannot be decided here is a dead letter.

import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createFhirClient } from '../../src/fhir/client/create-client.ts';
import { figureOf } from '../support/connector-state.ts';
import {
  ask,
  createPatient,
  deletePatient,
  editPatient,
  fhirUrl,
  patientsWith,
  readPatient,
  versionsOf,
} from './fhir-server.ts';
import { addPatient, allFinished, deliveredPatient, fhirIdOf, type Setting, startSetting } from './setup.ts';
import { expectVersions } from './versions.ts';

let setting: Setting;

beforeAll(async () => {
  setting = await startSetting();
});

afterAll(() => setting?.end());

const query = (sql: string, values: unknown[] = []) => setting.database.pool.query(sql, values);

async function foreignEdits(): Promise<number> {
  return (await figureOf(setting.connector.metrics.foreignEdits)) ?? Number.NaN;
}

const toldEdits = () => setting.connector.log.filter(({ msg }) => msg.startsWith('Somebody else changed')).length;

/** Until it is accepted: HAPI refuses one that meets a PUT of the connector. */
async function editAmidPuts(fhirId: string, gender: string): Promise<void> {
  const edited = { ...(await readPatient(fhirId)), telecom: [], gender };
  const { status } = await ask('PUT', `Patient/${fhirId}`, edited);
  if (status === 409) await editAmidPuts(fhirId, gender);
  else expect(status).toBe(200);
}

describe('an edit by somebody else', () => {
  it('is overwritten by the next change of the row, counted and logged without patient data', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'FOREIGN');
    const before = await foreignEdits();
    const told = toldEdits();
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
    expect(toldEdits()).toBe(told + 1);
    expect(JSON.stringify(setting.connector.log)).not.toMatch(/Edited-There|Doe|FOREIGN/);
    const counted = { id, fhirId, commits: 2, versions: 3 };
    await expectVersions(setting, 'edited there (by-id)', [counted], 'one is the edit');
  });

  it('while the row changes as fast as PostgreSQL commits never stands, and each commit has its version, in order', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'BUSY');
    const before = await foreignEdits();
    const phones = Array.from({ length: 20 }, (_, n) => `+1-555-${n}`);
    for (const [n, phone] of phones.entries()) {
      await query('UPDATE patient SET phone_number = $2 WHERE id = $1', [id, phone]);
      if (n % 5 === 0) await editAmidPuts(fhirId, n % 2 === 0 ? 'male' : 'other');
    }
    await query(`UPDATE patient SET phone_number = '+1-555-LAST' WHERE id = $1`, [id]);
    await allFinished(setting);
    const versions = await versionsOf(fhirId);
    const ours = versions.filter((patient) => patient?.gender === 'female');
    expect(ours.map((patient) => patient?.telecom?.[0]?.value)).toEqual([undefined, ...phones, '+1-555-LAST']);
    expect(versions.at(-1)).toMatchObject({ gender: 'female', telecom: [{ value: '+1-555-LAST' }] });
    const edits = versions.length - ours.length;
    expect(edits).toBe(4);
    const counted = (await foreignEdits()) - before;
    expect(counted).toBeGreaterThan(0);
    expect(counted).toBeLessThanOrEqual(edits);
    await expectVersions(
      setting,
      'edited there amid rapid updates (by-id)',
      [{ id, fhirId, commits: 22, versions: 22 + edits }],
      'the others are the edits',
    );
  });

  it('to the very state that the row gets is taken for what it is, and for no conflict', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'AGREED');
    const before = await foreignEdits();
    await editPatient({ ...(await readPatient(fhirId)), telecom: [{ system: 'phone', value: '+1-555-1' }] });
    await query(`UPDATE patient SET phone_number = '+1-555-1' WHERE id = $1`, [id]);
    await allFinished(setting);
    expect(await foreignEdits()).toBe(before);
    // The next change goes against that version.
    await query(`UPDATE patient SET phone_number = '+1-555-2' WHERE id = $1`, [id]);
    await allFinished(setting);
    expect(await foreignEdits()).toBe(before);
    await expectVersions(setting, 'edited there to the state that the row gets (by-id)', [{ id, fhirId, commits: 3 }]);
  });

  it('that removed the resource is undone under the same id', async () => {
    const { id, fhirId } = await deliveredPatient(setting, 'REMOVED');
    await deletePatient(fhirId);
    await query(`UPDATE patient SET phone_number = '+1-555-1' WHERE id = $1`, [id]);
    await allFinished(setting);
    expect(await fhirIdOf(setting, id)).toBe(fhirId);
    expect((await versionsOf(fhirId)).map((patient) => patient?.active)).toEqual([true, undefined, true]);
    const counted = { id, fhirId, commits: 2, versions: 3 };
    await expectVersions(setting, 'deleted there, updated here (by-id)', [counted], 'one is the delete');
  });
});

// docs/guarantees.md says so: without If-Match nothing tells the connector that somebody was there.
describe('with FHIR_UPDATE=conditional, an edit by somebody else', () => {
  let conditional: Setting;

  beforeAll(async () => {
    conditional = await startSetting({ update: 'conditional' });
  });

  afterAll(() => conditional?.end());

  const change = (id: number) =>
    conditional.database.pool.query(`UPDATE patient SET phone_number = '+1-555-1' WHERE id = $1`, [id]);

  it('is overwritten unseen', async () => {
    const { id, fhirId } = await deliveredPatient(conditional, 'UNSEEN');
    await editPatient({ ...(await readPatient(fhirId)), name: [{ family: 'Edited-There' }] });
    await change(id);
    await allFinished(conditional);
    expect(await readPatient(fhirId)).toMatchObject({ name: [{ family: 'Doe' }], telecom: [{ value: '+1-555-1' }] });
    expect(await figureOf(conditional.connector.metrics.foreignEdits)).toBe(0);
    const counted = { id, fhirId, commits: 2, versions: 3 };
    await expectVersions(conditional, 'edited there (conditional)', [counted], 'one is the edit');
  });

  it('that removed the resource leads to another one, and the link goes with it', async () => {
    const { id, fhirId } = await deliveredPatient(conditional, 'REMOVED');
    await deletePatient(fhirId);
    await change(id);
    await allFinished(conditional);
    const next = (await fhirIdOf(conditional, id)) ?? '';
    expect(next).not.toBe(fhirId);
    expect((await patientsWith(conditional.system, 'REMOVED')).map((patient) => patient.id)).toEqual([next]);
    expect((await versionsOf(fhirId)).at(-1)).toBeNull();
    await expectVersions(
      conditional,
      'deleted there, updated here (conditional)',
      [{ id, fhirId: next, commits: 2, versions: 1 }],
      'the first is of the deleted resource',
    );
  });
});

describe('a stale If-Match', () => {
  it(`gets ${inject('staleIfMatch')} on a PUT by id, and the resource stays as it is`, async () => {
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
      fault: { status: inject('staleIfMatch'), code: 'stale-version', disposition: 'conflict' },
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
