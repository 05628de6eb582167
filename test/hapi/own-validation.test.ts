// HAPI that validates what it is sent: it takes our Patients once it has their profile, and names what it refuses.

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { usCoreDefinitions } from '../fhir/us-core-definitions.ts';
import { runCommand } from '../support/command.ts';
import { createOperator, type Operator } from '../support/operator.ts';
import { ask, byIdentifier, fhirUrl, readPatient } from './fhir-server.ts';
import { ownHapi } from './own-hapi.ts';
import { addPatient, allFinished, deliveredPatient, type Setting, startSetting } from './setup.ts';

const hapi = ownHapi();
let setting: Setting;
let operator: Operator;

beforeAll(async () => {
  await hapi.start({ validate: true });
  setting = await startSetting();
  operator = await createOperator(setting.database, fhirUrl());
});

afterAll(async () => {
  await operator?.drop();
  await setting?.end();
  await hapi.stop();
});

const query = (sql: string, values: unknown[] = []) => setting.database.pool.query(sql, values);

async function deadLetters(): Promise<{ id: string; patient_id: number; http_status: number; error_text: string }[]> {
  const { rows } = await query(
    'SELECT id, patient_id, http_status, error_text FROM fhir_dlq WHERE resolved_at IS NULL ORDER BY id',
  );
  return rows;
}

const dlq = (...args: string[]) => runCommand(operator.environment, 'dlq', ...args);

describe('HAPI that validates', () => {
  it('refuses an element that FHIR does not know, which it would drop otherwise', async () => {
    const identifier = [{ system: setting.system, value: 'UNKNOWN' }];
    const patient = { resourceType: 'Patient', identifier, gender: 'female', shoeSize: 43 };
    const { status, body } = await ask('PUT', byIdentifier(setting.system, 'UNKNOWN'), patient);
    expect({ status, body: JSON.stringify(body) }).toEqual({
      status: 422,
      body: expect.stringContaining("Unrecognized property 'shoeSize'"),
    });
  });

  it('refuses a claim of US Core while it has no such profile; loaded, a replay delivers what was refused', async () => {
    const id = await addPatient(setting, 'CLAIM');
    await allFinished(setting);
    const [letter, ...more] = await deadLetters();
    expect(more).toEqual([]);
    expect(letter).toMatchObject({ patient_id: id, http_status: 422 });
    expect((await dlq('show', String(letter?.id))).stdout).toContain('at Patient.meta.profile[0]');

    // It validates this too, and would refuse the extensions that the profile names; no Patient of ours has them.
    const [profile] = usCoreDefinitions();
    const { status, body } = await ask('PUT', `StructureDefinition/${profile.id}`, profile);
    expect(status, JSON.stringify(body)).toBe(201);
    // HAPI remembers for a while what it did not find.
    await vi.waitUntil(
      async () => {
        for (const { id } of await deadLetters()) await dlq('replay', id);
        await allFinished(setting);
        return (await deadLetters()).length === 0;
      },
      { timeout: 120_000, interval: 2000 },
    );
    const { fhirId } = await deliveredPatient(setting, 'ACCEPTED');
    expect(await readPatient(fhirId)).toMatchObject({ name: [{ family: 'Doe' }] });
  });

  it('makes a dead letter of what it does not accept, whose reason names the element and nothing of the patient', async () => {
    const { rows } = await query(
      `INSERT INTO patient (name_family, identifier_system, identifier_value) VALUES ('Doe', 'not-a-uri', 'REFUSED') RETURNING id`,
    );
    await deliveredPatient(setting, 'BYSTANDER');
    const [letter, ...more] = await deadLetters();
    expect(more).toEqual([]);
    expect(letter).toMatchObject({ patient_id: rows[0].id, http_status: 422 });
    const { stdout } = await dlq('show', String(letter?.id));
    expect(stdout).toContain('at Patient.identifier[0]');
    expect(`${letter?.error_text} ${stdout} ${JSON.stringify(setting.connector.log)}`).not.toMatch(
      /Doe|REFUSED|not-a-uri/,
    );
  });
});
