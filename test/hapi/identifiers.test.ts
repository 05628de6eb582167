// Primary identifiers that change, move and are swapped: whatever the order, each row keeps the resource that it has.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { figureOf } from '../support/connector-state.ts';
import { patientsWith, readPatient } from './fhir-server.ts';
import { allFinished, deliveredPatient, fhirIdOf, type Setting, startSetting } from './setup.ts';
import { type Counted, expectVersions } from './versions.ts';

describe.each([
  { update: 'by-id', batchSize: 1 },
  { update: 'conditional', batchSize: 1 },
  { update: 'by-id', batchSize: 8 },
  { update: 'conditional', batchSize: 8 },
] as const)(
  'with FHIR_UPDATE=$update and FHIR_BATCH_SIZE=$batchSize, a primary identifier',
  ({ update, batchSize }) => {
    let setting: Setting;

    beforeAll(async () => {
      setting = await startSetting({ update, batchSize, concurrency: 4 });
    });

    afterAll(async () => {
      try {
        expect((await setting.database.pool.query('SELECT error_text FROM fhir_dlq')).rows).toEqual([]);
        expect(await figureOf(setting.connector.metrics.foreignEdits)).toBe(0);
      } finally {
        await setting?.end();
      }
    });

    const query = (sql: string, values: unknown[] = []) => setting.database.pool.query(sql, values);
    const holders = async (value: string) => (await patientsWith(setting.system, value)).map(({ id }) => id);
    const versions = (scenario: string, patients: Counted[]) =>
      expectVersions(setting, `${scenario} (${update}${batchSize > 1 ? ', in Bundles' : ''})`, patients);
    const named = (id: number, family: string) =>
      query('UPDATE patient SET name_family = $2 WHERE id = $1', [id, family]);

    it('that changes keeps the resource, and leaves none under the old identifier', async () => {
      const { id, fhirId } = await deliveredPatient(setting, 'BEFORE');
      await query(`UPDATE patient SET identifier_value = 'AFTER' WHERE id = $1`, [id]);
      await allFinished(setting);
      expect(await fhirIdOf(setting, id)).toBe(fhirId);
      expect(await holders('BEFORE')).toEqual([]);
      expect(await holders('AFTER')).toEqual([fhirId]);
      await versions('identifier changed', [{ id, fhirId, commits: 2 }]);
    });

    describe.each(['in one transaction', 'in two'] as const)('that moves to another patient %s', (when) => {
      const one = when === 'in one transaction';
      const value = one ? 'MOVED-1' : 'MOVED-2';
      const transaction = (...statements: string[]) =>
        query(one ? `BEGIN; ${statements.join('; ')}; COMMIT` : (statements[0] ?? '')).then(() =>
          one ? undefined : query(statements[1] ?? ''),
        );

      it('leaves each its own resource', async () => {
        const giver = await deliveredPatient(setting, value);
        const taker = await deliveredPatient(setting, `${value}-TAKER`);
        await named(taker.id, 'Taker');
        await transaction(
          `UPDATE patient SET identifier_value = '${value}-GIVEN' WHERE id = ${giver.id}`,
          `UPDATE patient SET identifier_value = '${value}' WHERE id = ${taker.id}`,
        );
        await allFinished(setting);
        expect(await holders(value)).toEqual([taker.fhirId]);
        expect(await holders(`${value}-GIVEN`)).toEqual([giver.fhirId]);
        expect(await holders(`${value}-TAKER`)).toEqual([]);
        expect(await readPatient(giver.fhirId)).toMatchObject({ name: [{ family: 'Doe' }] });
        expect(await readPatient(taker.fhirId)).toMatchObject({ name: [{ family: 'Taker' }] });
        await versions(`identifier moved ${when}`, [
          { ...giver, commits: 2 },
          { ...taker, commits: 3 },
        ]);
      });

      it('who is new makes that one a new resource', async () => {
        const giver = await deliveredPatient(setting, `${value}-NEW`);
        await transaction(
          `UPDATE patient SET identifier_value = '${value}-OLD' WHERE id = ${giver.id}`,
          `INSERT INTO patient (name_family, identifier_system, identifier_value) VALUES ('Newcomer', '${setting.system}', '${value}-NEW')`,
        );
        await allFinished(setting);
        const { rows } = await query('SELECT id FROM patient WHERE identifier_value = $1', [`${value}-NEW`]);
        const taker = { id: rows[0].id, fhirId: (await fhirIdOf(setting, rows[0].id)) ?? '' };
        expect(await holders(`${value}-NEW`)).toEqual([taker.fhirId]);
        expect(await holders(`${value}-OLD`)).toEqual([giver.fhirId]);
        expect(taker.fhirId).not.toBe(giver.fhirId);
        expect(await readPatient(taker.fhirId)).toMatchObject({ name: [{ family: 'Newcomer' }] });
        expect(await readPatient(giver.fhirId)).toMatchObject({ name: [{ family: 'Doe' }] });
        await versions(`identifier moved to a new patient ${when}`, [
          { ...giver, commits: 2 },
          { ...taker, commits: 1 },
        ]);
      });
    });

    it('that goes round three patients and back, as fast as PostgreSQL commits, ends where the tables have it', async () => {
      const three = [];
      for (const value of ['ROUND-1', 'ROUND-2', 'ROUND-3']) three.push(await deliveredPatient(setting, value));
      const [first, second, third] = three.map(({ id }) => id);
      const rename = (id: number | undefined, value: string) =>
        query('UPDATE patient SET identifier_value = $2 WHERE id = $1', [id, value]);
      await rename(first, 'ROUND-X');
      await rename(second, 'ROUND-1');
      await rename(third, 'ROUND-2');
      await rename(first, 'ROUND-3');
      await rename(second, 'ROUND-Y');
      await rename(first, 'ROUND-1');
      await allFinished(setting);
      expect(await holders('ROUND-1')).toEqual([three[0]?.fhirId]);
      expect(await holders('ROUND-Y')).toEqual([three[1]?.fhirId]);
      expect(await holders('ROUND-2')).toEqual([three[2]?.fhirId]);
      for (const left of ['ROUND-3', 'ROUND-X']) expect(await holders(left)).toEqual([]);
      await versions(
        'identifiers go round three patients',
        three.map((each, at) => ({ ...each, commits: [4, 3, 2][at] ?? 0 })),
      );
    });

    it('that two patients swap leaves both their resource', async () => {
      const first = await deliveredPatient(setting, 'SWAP-1');
      const second = await deliveredPatient(setting, 'SWAP-2');
      await named(second.id, 'Second');
      await query(`BEGIN;
      UPDATE patient SET identifier_value = 'SWAPPING' WHERE id = ${first.id};
      UPDATE patient SET identifier_value = 'SWAP-1' WHERE id = ${second.id};
      UPDATE patient SET identifier_value = 'SWAP-2' WHERE id = ${first.id};
      COMMIT`);
      await allFinished(setting);
      expect(await holders('SWAP-2')).toEqual([first.fhirId]);
      expect(await holders('SWAP-1')).toEqual([second.fhirId]);
      expect(await readPatient(first.fhirId)).toMatchObject({ name: [{ family: 'Doe' }] });
      expect(await readPatient(second.fhirId)).toMatchObject({ name: [{ family: 'Second' }] });
      await versions('identifiers swapped', [
        { ...first, commits: 2 },
        { ...second, commits: 3 },
      ]);
    });
  },
);
