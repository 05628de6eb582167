// The sample's forms and readings on HAPI: valid by the vital signs' profiles, and each of the right patient and form.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from '../../src/schema/migrate.ts';
import { withClient } from '../support/with-client.ts';
import { ask } from './fhir-server.ts';
import { allFinished, type Setting, startSetting } from './setup.ts';

interface Row {
  readonly table: string;
  readonly id: number;
  readonly type: string;
  readonly fhir_id: string | null;
  readonly patient: string | null;
  readonly form: string | null;
}

interface Resource {
  readonly subject?: { reference?: string };
  readonly encounter?: { reference?: string };
}

interface Outcome {
  readonly issue: readonly { readonly severity: string; readonly diagnostics?: string }[];
}

const PROFILES: Readonly<Record<string, readonly string[]>> = {
  form: ['Encounter'],
  blood_pressure: ['vitalsigns', 'bp'],
  pulse: ['vitalsigns', 'heartrate'],
};

let setting: Setting;
let rows: readonly Row[];

beforeAll(async () => {
  setting = await startSetting({ resources: ['Patient', 'Encounter', 'Observation'] });
  await withClient(setting.database.config, (client) =>
    migrate(client, { sample: true, resources: ['Patient', 'Encounter', 'Observation'] }),
  );
  await allFinished(setting);
  const linked = `(SELECT fhir_id FROM fhir_link WHERE source_table = 'patient' AND source_id = r.patient_id) AS patient`;
  ({ rows } = await setting.database.pool.query<Row>(`
    SELECT r.*, l.resource_type AS type, l.fhir_id, ${linked},
           (SELECT fhir_id FROM fhir_link WHERE source_table = 'form' AND source_id = r.form_id) AS form
      FROM (SELECT 'form' AS "table", id, patient_id, NULL AS form_id FROM form
            UNION ALL SELECT 'blood_pressure', id, patient_id, form_id FROM blood_pressure
            UNION ALL SELECT 'pulse', id, patient_id, form_id FROM pulse) AS r
      LEFT JOIN fhir_link AS l ON l.source_table = r."table" AND l.source_id = r.id`));
});

afterAll(() => setting?.end());

const of = (table: string) => rows.filter((row) => row.table === table);

it('are all there: seven forms, nine pressures, seven pulses', async () => {
  expect(
    ['form', 'blood_pressure', 'pulse'].map((table) => of(table).filter(({ fhir_id }) => fhir_id !== null).length),
  ).toEqual([7, 9, 7]);
  const { rows: dead } = await setting.database.pool.query('SELECT error_text FROM fhir_dlq');
  expect(dead).toEqual([]);
});

describe.each(Object.entries(PROFILES))('each %s', (table, profiles) => {
  it('refers to its patient and its form', async () => {
    for (const { type, fhir_id, patient, form } of of(table)) {
      const { body } = await ask<Resource>('GET', `${type}/${fhir_id}`);
      expect(body.subject?.reference).toBe(`Patient/${patient}`);
      if (table !== 'form') expect(body.encounter?.reference).toBe(`Encounter/${form}`);
    }
  });

  it.each(profiles)('is valid by HL7’s %s', async (profile) => {
    for (const { type, fhir_id } of of(table)) {
      const { body } = await ask<object>('GET', `${type}/${fhir_id}`);
      // HAPI does not have US Core; what it claims is no part of what is asked.
      const { meta: _claimed, ...resource } = body as { meta?: unknown };
      const { body: outcome } = await ask<Outcome>(
        'POST',
        `${type}/$validate?profile=${encodeURIComponent(`http://hl7.org/fhir/StructureDefinition/${profile}`)}`,
        resource,
      );
      const errors = outcome.issue.filter(({ severity }) => severity === 'error' || severity === 'fatal');
      expect(errors.map(({ diagnostics }) => diagnostics)).toEqual([]);
    }
  });
});

it('$validate sees a pressure that is wrong', async () => {
  const [row] = of('blood_pressure');
  const { body } = await ask<object>('GET', `Observation/${row?.fhir_id}`);
  const { meta: _claimed, category: _category, ...wrong } = body as { meta?: unknown; category?: unknown };
  const { body: outcome } = await ask<Outcome>(
    'POST',
    `Observation/$validate?profile=${encodeURIComponent('http://hl7.org/fhir/StructureDefinition/bp')}`,
    wrong,
  );
  expect(outcome.issue.some(({ severity }) => severity === 'error')).toBe(true);
});
