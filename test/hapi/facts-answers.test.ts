// Facts about what HAPI keeps of a request and tells in its answers, and what the connector makes of that.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { created, diagnosticsOf, type Outcome, patient, putAt, putBy, SYSTEM } from './facts.ts';
import { ask, createPatient, type Patient, readPatient, versionsOf } from './fhir-server.ts';
import { addPatient, allFinished, deliveredPatient, type Setting, startSetting } from './setup.ts';

const ID = '0123456789abcdef';

describe('X-Request-Id', () => {
  // src/outbox/writer/own-resource.ts, isWhatWeSent: by it the connector knows its own write again, whose answer was lost.
  it('comes back in the answer, and is kept in meta.source of the version that it made', async () => {
    const { headers, body } = await putBy('REQUEST-ID', patient('REQUEST-ID'), { 'x-request-id': ID });
    expect(headers.get('x-request-id')).toBe(ID);
    await putAt(body.id ?? '', patient('REQUEST-ID', { gender: 'male' }));
    const sources = (await versionsOf(body.id ?? '')).map((version) => version?.meta?.source);
    expect(sources[0]).toBe(`#${ID}`);
    expect(sources[1]).not.toContain(ID);
  });

  // src/fhir/client/request-id.ts makes ids of 16 characters, so that they can be compared whole.
  it('is cut to its first 16 characters there', async () => {
    const { body } = await putBy('LONG-ID', patient('LONG-ID'), { 'x-request-id': `${ID}-and-more` });
    expect((await readPatient(body.id ?? '')).meta?.source).toBe(`#${ID}`);
  });

  // src/outbox/writer/own-resource.ts, isWhatWeSent, compares the body as well: the version that was kept names an earlier request.
  it('of a PUT that changes nothing is not kept', async () => {
    const id = await created('UNCHANGED');
    await putAt(id, patient('UNCHANGED'), { 'x-request-id': ID });
    expect((await readPatient(id)).meta?.source).not.toContain(ID);
  });
});

describe('an element that FHIR does not have', () => {
  // src/fhir/mapping/patient.ts must be right by itself: its output is validated by test/hapi/validate.test.ts and
  // test/fhir, because a server that does not validate tells nobody of what it drops.
  it('is dropped silently', async () => {
    const { status, body } = await putBy('UNKNOWN', { ...patient('UNKNOWN'), nickname: 'none' });
    expect(status).toBe(201);
    expect(await readPatient(body.id ?? '')).not.toHaveProperty('nickname');
  });

  // src/fhir/faults/fault-table.ts, validation: what cannot be read as FHIR is a dead letter.
  it.each([
    ['a code that its value set does not have', { gender: 'robot' }],
    ['a date that does not exist', { birthDate: '1990-13-45' }],
  ])('gets 400 when it is %s', async (_, wrong) => {
    const refused = await ask<Outcome>('POST', 'Patient', { ...patient('WRONG'), ...wrong });
    expect(refused.status).toBe(400);
    expect(diagnosticsOf(refused)).toContain('HAPI-0450: ');
  });
});

describe('an error', () => {
  let setting: Setting;

  beforeAll(async () => {
    setting = await startSetting({ deletes: 'delete' });
  });

  afterAll(() => setting?.end());

  const query = (sql: string, values: unknown[] = []) => setting.database.pool.query(sql, values);
  const twins = (system: string, value: string): Patient => ({ ...patient(value), identifier: [{ system, value }] });

  it('quotes the identifier of the match URL, and an element with its value', async () => {
    await Promise.all([createPatient(patient('QUOTED')), createPatient(patient('QUOTED'))]);
    const several = diagnosticsOf(await putBy<Outcome>('QUOTED'));
    expect(decodeURIComponent(several)).toContain(`${SYSTEM}|QUOTED`);
    expect(diagnosticsOf(await putBy<Outcome>('LACKING', patient('OTHER')))).toContain('LACKING');
    const wrong = await putBy<Outcome>('VALUE', { ...patient('VALUE'), birthDate: 'a secret' });
    expect(diagnosticsOf(wrong)).toContain('"a secret"');
  });

  // src/fhir/faults/operation-outcome.ts lets codes alone into sentences; the rest stays in the dead letter's operation_outcome.
  it('is told by the connector without any of that, in log, outbox and dead letter', async () => {
    const { system } = setting;
    await createPatient(twins(system, 'SECRET-SEVERAL'));
    await createPatient(twins(system, 'SECRET-SEVERAL'));
    await addPatient(setting, 'SECRET-SEVERAL');
    const referred = await deliveredPatient(setting, 'SECRET-REFERRED');
    const subject = { reference: `Patient/${referred.fhirId}` };
    await ask('POST', 'Observation', { resourceType: 'Observation', status: 'final', code: { text: 'x' }, subject });
    await query('DELETE FROM patient WHERE id = $1', [referred.id]);
    await allFinished(setting);

    const { rows } = await query(
      'SELECT http_status, error_text, operation_outcome FROM fhir_dlq ORDER BY http_status',
    );
    expect(rows.map(({ http_status }) => http_status)).toEqual([409, 412]);
    // Where it must be.
    expect(JSON.stringify(rows[1].operation_outcome)).toContain('SECRET-SEVERAL');
    const told = {
      log: setting.connector.log,
      dlq: rows.map(({ error_text }) => error_text),
      outbox: (await query('SELECT last_error FROM fhir_outbox')).rows,
    };
    expect(JSON.stringify(told)).toContain('HAPI-0988');
    expect(JSON.stringify(told)).not.toMatch(/SECRET|identifier=|Doe|Jane|1990-01-15/);
    expect(JSON.stringify(told)).not.toContain(system);
  });
});
