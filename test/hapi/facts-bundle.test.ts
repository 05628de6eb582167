// Facts of HAPI about transaction Bundles: why the connector sends each resource in a request of its own.
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { created, diagnosticsOf, type Outcome, patient, SYSTEM } from './facts.ts';
import { ask, byIdentifier, type Patient, patientsWith } from './fhir-server.ts';

interface Entry {
  response: { status: string; etag: string };
}

const byItsIdentifier = (value: string, family: string, fullUrl?: string) => ({
  ...(fullUrl && { fullUrl }),
  resource: patient(value, { name: [{ family }] }),
  request: { method: 'PUT', url: byIdentifier(SYSTEM, value) },
});

const transaction = <T = { entry: Entry[] }>(entry: object[]) =>
  ask<T>('POST', '', { resourceType: 'Bundle', type: 'transaction', entry });

const familiesOf = async (value: string) =>
  (await patientsWith(SYSTEM, value)).map(({ name }: Patient) => name?.[0]?.family);

describe('a transaction Bundle', () => {
  // src/outbox/delivery.ts makes one delivery of one transaction's changes to a patient, and src/outbox/lanes.ts sends
  // a patient's deliveries one after the other: two states of one patient never travel together.
  it('with two PUTs by one identifier drops the second and answers 200, with one entry for the two', async () => {
    const url = () => `urn:uuid:${randomUUID()}`;
    const { status, body } = await transaction([
      byItsIdentifier('DROPPED', 'First', url()),
      byItsIdentifier('DROPPED', 'Second', url()),
    ]);
    expect(status).toBe(200);
    expect(body.entry).toHaveLength(1);
    expect(await familiesOf('DROPPED')).toEqual(['First']);
  });

  it('with two of them that have no fullUrl is refused as a whole', async () => {
    const refused = await transaction<Outcome>([
      byItsIdentifier('REFUSED', 'First'),
      byItsIdentifier('REFUSED', 'Second'),
    ]);
    expect(refused.status).toBe(400);
    expect(diagnosticsOf(refused)).toContain('HAPI-2008');
    expect(await familiesOf('REFUSED')).toEqual([]);
  });

  // src/fhir/answer.ts reads W/"2" and "2", as HTTP has it: who ever sends Bundles here has to read this too.
  it('answers with an etag that is no ETag: the bare version', async () => {
    const id = await created('ETAG');
    const { body } = await transaction([
      {
        resource: { ...patient('ETAG', { gender: 'male' }), id },
        request: { method: 'PUT', url: `Patient/${id}`, ifMatch: 'W/"1"' },
      },
    ]);
    expect(body.entry[0]?.response).toMatchObject({ status: '200 OK', etag: '2' });
  });
});
