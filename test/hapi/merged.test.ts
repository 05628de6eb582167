// Somebody merges Patients on HAPI. The database knows of no merge there: its rows stay patients of their own, and each
// one's next change writes its state to its own resource, never to the other's.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { figureOf } from '../support/connector-state.ts';
import { deletePatient, editPatient, patientsWith, readPatient } from './fhir-server.ts';
import { addPatient, allFinished, deliveredPatient, fhirIdOf, type Setting, startSetting } from './setup.ts';
import { expectVersions } from './versions.ts';

let setting: Setting;

const query = (sql: string, values: unknown[] = []) => setting.database.pool.query(sql, values);
const change = (id: number) => query(`UPDATE patient SET phone_number = '+1-555-' || $1 WHERE id = $1`, [id]);
const holders = async (value: string) => (await patientsWith(setting.system, value)).map(({ id }) => id);
const foreignEdits = () => figureOf(setting.connector.metrics.foreignEdits);
const deadLetters = async () =>
  (await query('SELECT patient_id AS id, error_text AS reason, resolution FROM fhir_dlq ORDER BY id')).rows;

async function twoPatients() {
  return { kept: await deliveredPatient(setting, 'KEPT'), gone: await deliveredPatient(setting, 'GONE') };
}

/** As a merge does: the resource that is kept carries the identifiers of both. */
async function giveIdentifier(fhirId: string, value: string): Promise<void> {
  const kept = await readPatient(fhirId);
  const identifier = [...(kept.identifier ?? []), { system: setting.system, value }];
  await editPatient({ ...kept, identifier });
}

afterEach(() => setting?.end());

describe('with FHIR_UPDATE=by-id', () => {
  beforeEach(async () => {
    setting = await startSetting();
  });

  it('a resource that was replaced by another one there is the row’s again, active and without the link', async () => {
    const { kept, gone } = await twoPatients();
    await editPatient({
      ...(await readPatient(gone.fhirId)),
      active: false,
      link: [{ other: { reference: `Patient/${kept.fhirId}` }, type: 'replaced-by' }],
    });
    await change(gone.id);
    await allFinished(setting);
    const now = await readPatient(gone.fhirId);
    expect(now).toMatchObject({ active: true, identifier: [{ value: 'GONE' }] });
    expect(now).not.toHaveProperty('link');
    expect(await foreignEdits()).toBe(1);
    await expectVersions(
      setting,
      'merged there by a replaced-by link',
      [
        { ...gone, commits: 2, versions: 3 },
        { ...kept, commits: 1 },
      ],
      'one is the merge',
    );
  });

  it('a resource that was deleted, its identifier given to another one, comes back; and the other one loses the identifier', async () => {
    const { kept, gone } = await twoPatients();
    await deletePatient(gone.fhirId);
    await giveIdentifier(kept.fhirId, 'GONE');
    await change(gone.id);
    await allFinished(setting);
    expect(await fhirIdOf(setting, gone.id)).toBe(gone.fhirId);
    expect(await readPatient(gone.fhirId)).toMatchObject({ telecom: [{ value: `+1-555-${gone.id}` }] });
    expect(await readPatient(kept.fhirId)).toMatchObject({ identifier: [{ value: 'KEPT' }, { value: 'GONE' }] });
    await change(kept.id);
    await allFinished(setting);
    expect(await holders('GONE')).toEqual([gone.fhirId]);
    expect(await holders('KEPT')).toEqual([kept.fhirId]);
    expect(await deadLetters()).toEqual([]);
    await expectVersions(
      setting,
      'merged there by a delete',
      [
        { ...gone, commits: 2, versions: 3 },
        { ...kept, commits: 2, versions: 3 },
      ],
      'one of each is the merge',
    );
  });
});

describe('with FHIR_UPDATE=conditional', () => {
  it('a resource that was deleted, its identifier given to another one, becomes a new one; the other one stays its row’s', async () => {
    setting = await startSetting({ update: 'conditional' });
    const { kept, gone } = await twoPatients();
    await deletePatient(gone.fhirId);
    await giveIdentifier(kept.fhirId, 'GONE');
    await change(gone.id);
    await allFinished(setting);
    expect(await deadLetters()).toEqual([
      { id: gone.id, reason: expect.stringContaining(`another living row (id ${kept.id})`), resolution: null },
    ]);
    expect(await fhirIdOf(setting, kept.id)).toBe(kept.fhirId);
    expect(await readPatient(kept.fhirId)).toMatchObject({ identifier: [{ value: 'KEPT' }] });
    expect(await readPatient(kept.fhirId)).not.toHaveProperty('telecom');

    await change(gone.id);
    await allFinished(setting);
    const fhirId = (await fhirIdOf(setting, gone.id)) ?? '';
    expect([kept.fhirId, gone.fhirId]).not.toContain(fhirId);
    expect(await holders('GONE')).toEqual([fhirId]);
    expect(await holders('KEPT')).toEqual([kept.fhirId]);
    expect((await deadLetters()).map(({ resolution }) => resolution)).toEqual(['superseded']);
  });
});

describe.each(['by-id', 'conditional'] as const)(
  'with FHIR_UPDATE=%s, an identifier that somebody gave to the resource of another row',
  (update) => {
    beforeEach(async () => {
      setting = await startSetting({ update });
    });

    it('makes the new row with it a dead letter with the reason; the other row’s resource is put right at once', async () => {
      const kept = await deliveredPatient(setting, 'KEPT');
      await giveIdentifier(kept.fhirId, 'NEW');
      const id = await addPatient(setting, 'NEW');
      await allFinished(setting);
      expect(await deadLetters()).toEqual([
        { id, reason: expect.stringContaining(`another living row (id ${kept.id})`), resolution: null },
      ]);
      expect(await fhirIdOf(setting, kept.id)).toBe(kept.fhirId);
      expect(await readPatient(kept.fhirId)).toMatchObject({ identifier: [{ value: 'KEPT' }] });
      await change(id);
      await allFinished(setting);
      const fhirId = (await fhirIdOf(setting, id)) ?? '';
      expect(fhirId).not.toBe(kept.fhirId);
      expect(await holders('NEW')).toEqual([fhirId]);
      expect(await holders('KEPT')).toEqual([kept.fhirId]);
    });
  },
);
