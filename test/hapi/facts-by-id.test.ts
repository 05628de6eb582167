// Facts of HAPI about PUT and DELETE by id that the connector relies on. Each says what in src does.
import { describe, expect, it } from 'vitest';
import { created, diagnosticsOf, type Outcome, patient, putAt } from './facts.ts';
import { ask, deletePatient, readPatient } from './fhir-server.ts';

describe('a PUT by id', () => {
  // src/fhir/faults/fault-table.ts, stale-version: 409 here, 412 elsewhere. src/outbox/writer/writer.ts then reads, and writes again.
  it('with a stale If-Match gets 409, not 412, and changes nothing', async () => {
    const id = await created('STALE');
    await putAt(id, patient('STALE', { gender: 'male' }), { 'if-match': 'W/"1"' });
    const stale = await putAt<Outcome>(id, patient('STALE', { gender: 'other' }), { 'if-match': 'W/"1"' });
    expect(stale.status).toBe(409);
    expect(diagnosticsOf(stale)).toContain('HAPI-0550: HAPI-0989');
    expect(await readPatient(id)).toMatchObject({ gender: 'male', meta: { versionId: '2' } });
  });

  // src/outbox/writer/writer.ts, #putKnown: the conflict hides that it is gone, so a read that finds it gone leads to #putGone.
  it('with the If-Match from before a DELETE gets 409, and only a read says 410', async () => {
    const id = await created('GONE');
    await deletePatient(id);
    expect((await putAt(id, patient('GONE'), { 'if-match': 'W/"1"' })).status).toBe(409);
    expect((await ask('GET', `Patient/${id}`)).status).toBe(410);
  });

  // src/outbox/writer/writer.ts, #putGone: a resource that somebody deleted comes back under its id.
  it('without If-Match brings a deleted resource back, as its next version', async () => {
    const id = await created('BACK');
    await deletePatient(id);
    const back = await putAt(id, patient('BACK'));
    expect(back.status).toBe(201);
    expect(back.headers.get('etag')).toBe('W/"3"');
    expect(await readPatient(id)).toMatchObject({ identifier: [{ value: 'BACK' }] });
  });

  // src/fhir/faults/fault-table.ts, gone: HAPI says with a 400 what others say with a 404 or 405.
  it('of an id that the server never gave gets 400 HAPI-0960, and a read of it 404', async () => {
    const never = '987654321';
    const refused = await putAt<Outcome>(never, patient('NEVER'));
    expect(refused.status).toBe(400);
    expect(diagnosticsOf(refused)).toContain('HAPI-0960');
    expect((await ask('GET', `Patient/${never}`)).status).toBe(404);
  });
});

describe('a DELETE', () => {
  // src/fhir/client/answer.ts therefore looks for a version in Content-Location first; src/fhir/client/judge.ts takes both for success.
  it('makes a version that Content-Location names and no ETag, and a second one none at all', async () => {
    const id = await created('TWICE-DELETED');
    for (const _ of ['first', 'second']) {
      const answer = await ask('DELETE', `Patient/${id}`);
      expect(answer).toMatchObject({ status: 200, body: { resourceType: 'OperationOutcome' } });
      expect(answer.headers.get('etag')).toBeNull();
      expect(answer.headers.get('content-location')).toMatch(/_history\/2$/);
    }
  });

  // src/fhir/faults/fault-table.ts, referenced: a dead letter with that reason.
  it('of a Patient that another resource refers to gets 409 and removes nothing', async () => {
    const id = await created('REFERRED-TO');
    const observation = {
      resourceType: 'Observation',
      status: 'final',
      code: { text: 'of a test' },
      subject: { reference: `Patient/${id}` },
    };
    expect((await ask('POST', 'Observation', observation)).status).toBe(201);
    expect((await ask('DELETE', `Patient/${id}`)).status).toBe(409);
    expect(await readPatient(id)).toMatchObject({ id });
  });
});
