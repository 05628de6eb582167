// First contacts at the same moment: of several rows with one identifier, and of somebody else who creates it there.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deletePatient, patientsWith, readPatient } from './fhir-server.ts';
import { type Rival, startRival } from './rival.ts';
import { addPatient, allFinished, fhirIdOf, type Setting, startSetting } from './setup.ts';
import { expectVersions } from './versions.ts';

let setting: Setting;

const query = (sql: string, values: unknown[] = []) => setting.database.pool.query(sql, values);

async function deadLetters(): Promise<{ patient_id: number; error_text: string; resolution: string | null }[]> {
  return (await query('SELECT patient_id, error_text, resolution FROM fhir_dlq ORDER BY patient_id')).rows;
}

describe('several new rows with one identifier', () => {
  beforeAll(async () => {
    setting = await startSetting();
    // As in a hospital whose table had such rows before, so that `migrate` could not add the constraint.
    await query('ALTER TABLE patient DROP CONSTRAINT patient_identifier_key');
  });

  afterAll(() => setting?.end());

  const add = (family: string, value: string) =>
    `INSERT INTO patient (name_family, identifier_system, identifier_value) VALUES ('${family}', '${setting.system}', '${value}')`;

  // From three PUTs by one identifier at once on, HAPI may make two resources: here they go one after the other.
  it.each([
    ['in one transaction', (statements: string[]) => query(`BEGIN; ${statements.join('; ')}; COMMIT`)],
    ['in five at once', (statements: string[]) => Promise.all(statements.map((statement) => query(statement)))],
  ])('%s make one resource, of one of them; the others are dead letters with the reason', async (when, insert) => {
    const value = `SHARED ${when}`;
    await insert([1, 2, 3, 4, 5].map((n) => add(`Row-${n}`, value)));
    await allFinished(setting);
    const { rows } = await query(
      `SELECT p.id, p.name_family AS family, l.fhir_id AS "fhirId" FROM patient p
         LEFT JOIN fhir_link l ON l.source_id = p.id WHERE p.identifier_value = $1 ORDER BY l.fhir_id NULLS LAST`,
      [value],
    );
    const [linked, ...others] = rows;
    expect(others.map(({ fhirId }) => fhirId)).toEqual([null, null, null, null]);
    expect(await patientsWith(setting.system, value)).toMatchObject([
      { id: linked.fhirId, name: [{ family: linked.family }] },
    ]);
    const reasons = (await deadLetters()).filter(({ patient_id }) => others.some(({ id }) => id === patient_id));
    expect(reasons).toHaveLength(4);
    for (const { error_text } of reasons)
      expect(error_text).toContain(`belongs to the resource of another living row (id ${linked.id})`);
    await expectVersions(setting, `five new rows with one identifier, ${when}: the first`, [{ ...linked, commits: 1 }]);

    // Corrected, each of them is a patient of its own.
    for (const { id } of others)
      await query('UPDATE patient SET identifier_value = $2 WHERE id = $1', [id, `${value} ${id}`]);
    await allFinished(setting);
    const corrected = await Promise.all(
      others.map(async ({ id }) => ({ id, fhirId: (await fhirIdOf(setting, id)) ?? '', commits: 2, versions: 1 })),
    );
    expect(new Set([linked.fhirId, ...corrected.map(({ fhirId }) => fhirId)]).size).toBe(5);
    expect((await deadLetters()).every(({ resolution }) => resolution === 'superseded')).toBe(true);
    await expectVersions(
      setting,
      `five new rows with one identifier, ${when}: the others, corrected`,
      corrected,
      'the first commit of each is a dead letter',
    );
  });
});

describe('somebody else who creates the identifier of a new row at the same moment', () => {
  let rival: Rival;

  beforeAll(async () => {
    rival = await startRival(3);
    setting = await startSetting({ url: rival.url });
  });

  afterAll(async () => {
    await setting?.end();
    await rival?.close();
  });

  it('shares one resource with the row, or makes it a dead letter; never are two rows one resource', async () => {
    const values = Array.from({ length: 15 }, (_, n) => `CONTESTED-${n}`);
    const ids = await Promise.all(values.map((value) => addPatient(setting, value)));
    await allFinished(setting);
    const statuses = await rival.statuses();
    expect(statuses).toHaveLength(45);

    const dead = await deadLetters();
    const links = await Promise.all(ids.map((id) => fhirIdOf(setting, id)));
    const living = links.filter((fhirId) => fhirId !== null);
    expect(new Set(living).size).toBe(living.length);
    for (const [at, value] of values.entries()) {
      const there = (await patientsWith(setting.system, value)).map(({ id }) => id);
      const deadLetter = dead.find(({ patient_id }) => patient_id === ids[at]);
      if (deadLetter === undefined) expect(there).toContain(links[at]);
      else {
        expect(deadLetter.error_text).toContain('Several resources on the FHIR server');
        expect(links[at]).toBeNull();
        expect(there.length).toBeGreaterThan(1);
      }
    }

    // Somebody merges there what became two, and then the next change of each row puts it right.
    for (const [at, value] of values.entries()) {
      const [kept, ...rest] = (await patientsWith(setting.system, value)).toSorted((a) =>
        a.id === links[at] ? -1 : 1,
      );
      expect(kept).toBeDefined();
      for (const { id = '' } of rest) await deletePatient(id);
    }
    await query(`UPDATE patient SET phone_number = '+1-555-1'`);
    await allFinished(setting);
    for (const [at, id] of ids.entries()) {
      const fhirId = (await fhirIdOf(setting, id)) ?? '';
      expect((await patientsWith(setting.system, values[at] ?? '')).map((each) => each.id)).toEqual([fhirId]);
      expect(await readPatient(fhirId)).toMatchObject({ name: [{ family: 'Doe' }], telecom: [{ value: '+1-555-1' }] });
    }
    expect((await deadLetters()).filter(({ resolution }) => resolution !== 'superseded')).toEqual([]);
  });
});
