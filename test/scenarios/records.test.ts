// Forms and readings: each a resource of its own, behind its patient and its form, which it refers to.
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import type { Written } from '../support/fhir-ledger.ts';
import { withoutTriggers } from '../support/operator.ts';
import { allProcessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { ALL_RESOURCES, addPatient } from '../support/patients.ts';
import { type LedgerScenario, startLedgerScenario } from '../support/scenario.ts';
import { inOneTransaction } from './setup.ts';

let scenario: LedgerScenario;
let database: TestDatabase;

beforeAll(async () => {
  scenario = await startLedgerScenario({}, ALL_RESOURCES);
  database = scenario.database;
});

afterAll(() => scenario.end());

/** The versions that were written while `work` was done and delivered. */
async function writesOf(work: () => Promise<unknown>): Promise<readonly Written[]> {
  const before = scenario.fhir.writes.length;
  await work();
  await allProcessed(database);
  return scenario.fhir.writes.slice(before);
}

const typesOf = (writes: readonly Written[]) => writes.map(({ body }) => body?.resourceType);

async function add(table: string, values: Readonly<Record<string, unknown>>): Promise<number> {
  const columns = Object.keys(values);
  const { rows } = await database.pool.query<{ id: number }>(
    `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map((_, n) => `$${n + 1}`).join(', ')}) RETURNING id`,
    Object.values(values),
  );
  return rows[0]?.id ?? Number.NaN;
}

/** Of a row, as the link has it. */
async function fhirIdOf(table: string, id: number): Promise<string | null> {
  const { rows } = await database.pool.query<{ fhir_id: string | null }>(
    'SELECT fhir_id FROM fhir_link WHERE source_table = $1 AND source_id = $2',
    [table, id],
  );
  return rows[0]?.fhir_id ?? null;
}

async function deadLettersOf(table: string, id: number) {
  const { rows } = await database.pool.query(
    `SELECT error_text, resolution, waits_for_table, waits_for_id::int FROM fhir_dlq
      WHERE source_table = $1 AND source_id = $2 ORDER BY id`,
    [table, id],
  );
  return rows;
}

/** A delivered patient with a delivered form. */
async function patientWithForm(identifier: string): Promise<{ patient: number; form: number }> {
  const patient = await addPatient(database, identifier);
  const form = await add('form', { patient_id: patient, name: 'Annual Physical' });
  await allProcessed(database);
  return { patient, form };
}

describe('a patient with a form and readings', () => {
  it('in one transaction, written in any order, is sent in the order in which the resources refer to each other', async () => {
    const writes = await writesOf(() =>
      inOneTransaction(
        database,
        `INSERT INTO patient (id, identifier_system, identifier_value) VALUES (5001, 'urn:mrn', 'WHOLE')`,
        `INSERT INTO form (id, patient_id, name) VALUES (5001, 5001, 'Annual Physical')`,
        `INSERT INTO pulse (id, patient_id, form_id, rate) VALUES (5001, 5001, 5001, 72)`,
        `INSERT INTO blood_pressure (id, patient_id, form_id, systolic_pressure, diastolic_pressure) VALUES (5001, 5001, 5001, 120, 80)`,
        // Its last number is the highest of all, and it goes first all the same.
        `UPDATE patient SET name_family = 'Smith' WHERE id = 5001`,
      ),
    );
    expect(typesOf(writes)).toEqual(['Patient', 'Encounter', 'Observation', 'Observation']);
    const [patient, encounter, ...observations] = writes;
    expect(encounter?.body).toMatchObject({ subject: { reference: `Patient/${patient?.id}` }, status: 'finished' });
    for (const { body } of observations)
      expect(body).toMatchObject({
        subject: { reference: `Patient/${patient?.id}` },
        encounter: { reference: `Encounter/${encounter?.id}` },
        status: 'final',
      });
    expect(writes.map(({ version }) => version)).toEqual([1, 1, 1, 1]);
  });

  it('has identifiers of its own in each, in one system of this database', async () => {
    const { patient, form } = await patientWithForm('IDENTIFIED');
    const [written] = await writesOf(() => add('pulse', { patient_id: patient, form_id: form, rate: 60 }));
    const { rows } = await database.pool.query<{ uri: string }>('SELECT uri FROM fhir_own_system');
    const [identifier] = (written?.body?.identifier ?? []) as { system: string; value: string }[];
    expect(identifier?.system).toBe(rows[0]?.uri);
    expect(identifier?.value).toMatch(/^pulse\/\d+$/);
    expect(written?.query).toBe(`${identifier?.system}|${identifier?.value}`);
  });
});

describe('a reading', () => {
  it('makes no version of its patient, nor a change of the patient one of the reading', async () => {
    const { patient, form } = await patientWithForm('ALONE');
    const added = await writesOf(() =>
      add('blood_pressure', { patient_id: patient, form_id: form, systolic_pressure: 120 }),
    );
    expect(typesOf(added)).toEqual(['Observation']);
    const changed = await writesOf(() =>
      database.pool.query(`UPDATE patient SET name_family = 'Other' WHERE id = $1`, [patient]),
    );
    expect(typesOf(changed)).toEqual(['Patient']);
  });

  it('without a form refers to its patient alone', async () => {
    const { patient } = await patientWithForm('FORMLESS');
    const [written] = await writesOf(() => add('pulse', { patient_id: patient, rate: 80 }));
    expect(written?.body).toMatchObject({ subject: { reference: `Patient/${await fhirIdOf('patient', patient)}` } });
    expect(written?.body).not.toHaveProperty('encounter');
  });

  it('that is corrected is a new version of the same resource, sent against the one before', async () => {
    const { patient } = await patientWithForm('CORRECTED');
    const id = await add('pulse', { patient_id: patient, rate: 720 });
    await allProcessed(database);
    const [written] = await writesOf(() => database.pool.query('UPDATE pulse SET rate = 72 WHERE id = $1', [id]));
    expect(written).toMatchObject({ id: await fhirIdOf('pulse', id), version: 2, ifMatch: 'W/"1"' });
    expect(written?.body).toMatchObject({ valueQuantity: { value: 72 } });
  });

  it('that is changed several times in one transaction is one version', async () => {
    const { patient } = await patientWithForm('GROUPED');
    const id = await add('pulse', { patient_id: patient, rate: 1 });
    await allProcessed(database);
    const writes = await writesOf(() =>
      inOneTransaction(
        database,
        `UPDATE pulse SET rate = 2 WHERE id = ${id}`,
        `UPDATE pulse SET rate = 3 WHERE id = ${id}`,
        `UPDATE pulse SET comment = 'twice' WHERE id = ${id}`,
      ),
    );
    expect(writes.map(({ body }) => body)).toMatchObject([{ valueQuantity: { value: 3 }, note: [{ text: 'twice' }] }]);
  });

  it('and one of the other table with the same id are two resources', async () => {
    const { patient } = await patientWithForm('TWINS');
    await inOneTransaction(
      database,
      `INSERT INTO pulse (id, patient_id, rate) VALUES (7001, ${patient}, 61)`,
      `INSERT INTO blood_pressure (id, patient_id, systolic_pressure) VALUES (7001, ${patient}, 121)`,
    );
    await allProcessed(database);
    const [pulse, pressure] = [await fhirIdOf('pulse', 7001), await fhirIdOf('blood_pressure', 7001)];
    expect(pulse).not.toBe(pressure);
    expect(scenario.fhir.resources.get(pulse ?? '')).toMatchObject({ valueQuantity: { value: 61 } });
    expect(scenario.fhir.resources.get(pressure ?? '')).toMatchObject({
      component: [{ valueQuantity: { value: 121 } }, {}],
    });
  });
});

describe('deleted', () => {
  it('a reading is withdrawn as entered in error, with what it last said', async () => {
    const { patient } = await patientWithForm('DELETED-READING');
    const id = await add('pulse', { patient_id: patient, rate: 99 });
    await allProcessed(database);
    const [written] = await writesOf(() => database.pool.query('DELETE FROM pulse WHERE id = $1', [id]));
    expect(written?.body).toMatchObject({ status: 'entered-in-error', valueQuantity: { value: 99 } });
  });

  it('a patient goes after its readings and its form', async () => {
    const { patient, form } = await patientWithForm('DELETED-WHOLE');
    await add('pulse', { patient_id: patient, form_id: form, rate: 70 });
    await allProcessed(database);
    const writes = await writesOf(() =>
      inOneTransaction(
        database,
        `DELETE FROM pulse WHERE form_id = ${form}`,
        `DELETE FROM form WHERE id = ${form}`,
        `DELETE FROM patient WHERE id = ${patient}`,
      ),
    );
    expect(writes.map(({ body }) => [body?.resourceType, body?.status ?? body?.active])).toEqual([
      ['Observation', 'entered-in-error'],
      ['Encounter', 'entered-in-error'],
      ['Patient', false],
    ]);
  });

  it('where no trigger saw it, is withdrawn by a repair, though nothing of it is left and the link’s version is not known', async () => {
    const { patient } = await patientWithForm('UNSEEN-DELETE');
    const id = await add('pulse', { patient_id: patient, rate: 55 });
    await allProcessed(database);
    const fhirId = (await fhirIdOf('pulse', id)) ?? '';
    await withoutTriggers(database, `DELETE FROM pulse WHERE id = ${id}`);
    await database.pool.query(
      `UPDATE fhir_link SET version_id = NULL WHERE source_table = 'pulse' AND source_id = $1`,
      [id],
    );
    await database.pool.query(`SELECT fhir_emit('pulse', ARRAY[$1::int])`, [id]);
    await allProcessed(database);
    expect(scenario.fhir.resources.get(fhirId)).toMatchObject({
      status: 'entered-in-error',
      valueQuantity: { value: 55 },
    });
  });

  it('a reading whose last state was refused, for what it was to refer to, is withdrawn all the same', async () => {
    const { patient } = await patientWithForm('REFUSED-BEFORE');
    const stranger = await addPatient(database, null);
    const form = await add('form', { patient_id: stranger });
    const id = await add('pulse', { patient_id: patient, rate: 56 });
    await allProcessed(database);
    const fhirId = (await fhirIdOf('pulse', id)) ?? '';
    await database.pool.query('UPDATE pulse SET form_id = $2 WHERE id = $1', [id, form]);
    await allProcessed(database);
    expect(await deadLettersOf('pulse', id)).toMatchObject([{ waits_for_table: 'form', waits_for_id: form }]);
    await database.pool.query('DELETE FROM pulse WHERE id = $1', [id]);
    await allProcessed(database);
    expect(scenario.fhir.resources.get(fhirId)).toMatchObject({ status: 'entered-in-error' });
    expect(await deadLettersOf('pulse', id)).toMatchObject([{ resolution: 'superseded' }]);
  });

  it('a reading whose last state FHIR could not hold is withdrawn all the same, whatever somebody did to it meanwhile', async () => {
    const { patient } = await patientWithForm('UNMAPPABLE');
    const ids = [
      await add('pulse', { patient_id: patient, rate: 57 }),
      await add('pulse', { patient_id: patient, rate: 58 }),
    ];
    await allProcessed(database);
    await database.pool.query(`UPDATE pulse SET measurement_time = 'infinity' WHERE id = ANY ($1)`, [ids]);
    await allProcessed(database);
    const [unknown = '', edited = ''] = [
      await fhirIdOf('pulse', ids[0] ?? 0),
      await fhirIdOf('pulse', ids[1] ?? 0),
    ].map(String);
    await database.pool.query('UPDATE fhir_link SET version_id = NULL WHERE fhir_id = $1', [unknown]);
    scenario.fhir.write(edited, { ...scenario.fhir.resources.get(edited), note: [{ text: 'by somebody else' }] });
    await database.pool.query('DELETE FROM pulse WHERE id = ANY ($1)', [ids]);
    await allProcessed(database);
    for (const id of [unknown, edited])
      expect(scenario.fhir.resources.get(id)).toMatchObject({ status: 'entered-in-error' });
  });

  it('a patient whose number somebody else gets is not referred to by that one’s form', async () => {
    const first = await addPatient(database, 'NUMBER-REUSED');
    await allProcessed(database);
    await database.pool.query('DELETE FROM patient WHERE id = $1', [first]);
    await database.pool.query('INSERT INTO patient (id, name_family) VALUES ($1, $2)', [first, 'Without identifier']);
    const form = await add('form', { patient_id: first });
    await allProcessed(database);
    expect(await fhirIdOf('form', form)).toBe(null);
    expect(await deadLettersOf('form', form)).toMatchObject([{ waits_for_table: 'patient', waits_for_id: first }]);
  });
});

describe('a form that goes to another patient', () => {
  it('is the same resource with another subject, in the order of its changes', async () => {
    const { form } = await patientWithForm('WRONG-PATIENT');
    const right = await addPatient(database, 'RIGHT-PATIENT');
    // The first patient has had many changes, the second one hardly any: their counters say nothing of the form's order.
    const writes = await writesOf(async () => {
      await database.pool.query(`UPDATE form SET name = 'First' WHERE id = $1`, [form]);
      await database.pool.query('UPDATE form SET patient_id = $2 WHERE id = $1', [form, right]);
      await database.pool.query(`UPDATE form SET name = 'Last' WHERE id = $1`, [form]);
    });
    const encounters = writes.filter(({ body }) => body?.resourceType === 'Encounter');
    expect(encounters.map(({ id }) => id)).toEqual(Array(3).fill(await fhirIdOf('form', form)));
    expect(encounters.map(({ body }) => (body as { type?: { text: string }[] }).type?.[0]?.text)).toEqual([
      'First',
      'First',
      'Last',
    ]);
    expect(encounters.at(-1)?.body?.subject).toEqual({ reference: `Patient/${await fhirIdOf('patient', right)}` });
  });

  it('while the first one’s change is on its way, waits for that one', async () => {
    const { form } = await patientWithForm('SLOW-FIRST');
    const right = await addPatient(database, 'QUICK-SECOND');
    await allProcessed(database);
    const path = `Encounter/${await fhirIdOf('form', form)}`;
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    const begun: unknown[] = [];
    scenario.fhir.fault = (request) => {
      if (request.method !== 'PUT' || request.path !== path) return undefined;
      begun.push(request.body?.subject);
      return { delay: held };
    };
    await database.pool.query(`UPDATE form SET name = 'Held' WHERE id = $1`, [form]);
    await vi.waitFor(() => expect(begun).toHaveLength(1), PATIENCE);
    await database.pool.query('UPDATE form SET patient_id = $2 WHERE id = $1', [form, right]);
    // Whatever could be sent has been sent when this one has.
    await addPatient(database, 'BYSTANDER');
    await vi.waitFor(
      () => expect(JSON.stringify([...scenario.fhir.resources.values()])).toContain('BYSTANDER'),
      PATIENCE,
    );
    expect(begun).toHaveLength(1);
    release();
    await allProcessed(database);
    scenario.fhir.fault = undefined;
    expect(scenario.fhir.resources.get(path.slice('Encounter/'.length))?.subject).toEqual({
      reference: `Patient/${await fhirIdOf('patient', right)}`,
    });
  });
});

describe('what refers to a resource that is not on the server', () => {
  it('is a dead letter that says for whom it waits, and follows by itself when that one is there', async () => {
    const patient = await addPatient(database, null);
    const form = await add('form', { patient_id: patient, name: 'Too early' });
    const pulse = await add('pulse', { patient_id: patient, form_id: form, rate: 66 });
    await allProcessed(database);
    expect(await deadLettersOf('form', form)).toEqual([
      {
        error_text: expect.stringContaining(`row ${patient} of patient, which is not on the FHIR server`),
        resolution: null,
        waits_for_table: 'patient',
        waits_for_id: patient,
      },
    ]);
    expect(await deadLettersOf('pulse', pulse)).toMatchObject([{ resolution: null, waits_for_table: 'patient' }]);
    await database.pool.query(`UPDATE patient SET identifier_value = 'AT-LAST' WHERE id = $1`, [patient]);
    await vi.waitFor(async () => expect(await fhirIdOf('pulse', pulse)).not.toBe(null), PATIENCE);
    await allProcessed(database);
    expect(scenario.fhir.resources.get((await fhirIdOf('pulse', pulse)) ?? '')).toMatchObject({
      subject: { reference: `Patient/${await fhirIdOf('patient', patient)}` },
      encounter: { reference: `Encounter/${await fhirIdOf('form', form)}` },
    });
    const resolutions = [...(await deadLettersOf('form', form)), ...(await deadLettersOf('pulse', pulse))];
    expect(resolutions.map(({ resolution }) => resolution)).not.toContain(null);
  });
});

describe('many changes at once', () => {
  it('of patients, forms and readings never meet a reference to nothing', async () => {
    const writers = Array.from({ length: 8 }, async (_, n) => {
      for (let round = 0; round < 10; round += 1) {
        const patient = await addPatient(database, `BUSY-${n}-${round}`);
        const form = await add('form', { patient_id: patient, name: `Round ${round}` });
        for (let beat = 0; beat < 3; beat += 1)
          await add('pulse', { patient_id: patient, form_id: form, rate: 60 + beat });
        await database.pool.query('UPDATE patient SET name_given = $2 WHERE id = $1', [patient, `Round ${round}`]);
      }
    });
    await Promise.all(writers);
    await allProcessed(database);
    const { rows } = await database.pool.query(
      `SELECT error_text FROM fhir_dlq WHERE patient_id IN (SELECT id FROM patient WHERE identifier_value LIKE 'BUSY-%')`,
    );
    expect(rows).toEqual([]);
    const { rows: links } = await database.pool.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM fhir_link WHERE fhir_id IS NOT NULL AND source_table = 'pulse' AND source_id IN (
         SELECT u.id FROM pulse u JOIN patient p ON p.id = u.patient_id WHERE p.identifier_value LIKE 'BUSY-%')`,
    );
    expect(links).toEqual([{ n: 240 }]);
  });
});

describe('with FHIR_DELETE=delete', () => {
  it('a patient with readings whose identifier somebody else gets in the same transaction is deleted behind them', async () => {
    const deleting = await startLedgerScenario({ deletes: 'delete' }, ALL_RESOURCES);
    try {
      const patient = await addPatient(deleting.database, 'HANDED-ON');
      const one = `(SELECT id FROM form WHERE patient_id = ${patient})`;
      await inOneTransaction(
        deleting.database,
        `INSERT INTO form (patient_id) VALUES (${patient})`,
        `INSERT INTO pulse (patient_id, form_id) VALUES (${patient}, ${one})`,
      );
      await allProcessed(deleting.database);
      await inOneTransaction(
        deleting.database,
        `DELETE FROM pulse WHERE patient_id = ${patient}`,
        `DELETE FROM form WHERE patient_id = ${patient}`,
        `DELETE FROM patient WHERE id = ${patient}`,
        `INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:mrn', 'HANDED-ON')`,
      );
      await allProcessed(deleting.database);
      const { rows } = await deleting.database.pool.query('SELECT error_text FROM fhir_dlq');
      expect(rows).toEqual([]);
      expect([...deleting.fhir.resources.values()].map(({ resourceType }) => resourceType)).toEqual(['Patient']);
    } finally {
      await deleting.end();
    }
  });
});
