// Facts of HAPI about transaction Bundles, which FHIR_BATCH_SIZE sends: what the connector relies on, and what it keeps off.
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { created, diagnosticsOf, type Outcome, patient, SYSTEM } from './facts.ts';
import { type Answer, ask, byIdentifier, type Patient, patientsWith, readPatient } from './fhir-server.ts';

interface Entry {
  resource?: Patient;
  response: { status: string; etag: string; location: string };
}

const byItsIdentifier = (value: string, family: string, fullUrl?: string) => ({
  ...(fullUrl && { fullUrl }),
  resource: patient(value, { name: [{ family }] }),
  request: { method: 'PUT', url: byIdentifier(SYSTEM, value) },
});

/** With a full URL, by id. */
const byItsId = (id: string, value: string, more: Partial<Patient>, ifMatch?: string) => ({
  fullUrl: `urn:uuid:${randomUUID()}`,
  resource: { ...patient(value, more), id },
  request: { method: 'PUT', url: `Patient/${id}`, ...(ifMatch && { ifMatch }) },
});

const url = () => `urn:uuid:${randomUUID()}`;

const transaction = <T = { entry: Entry[] }>(
  entry: object[],
  headers: Record<string, string> = { prefer: 'return=minimal' },
): Promise<Answer<T>> => ask<T>('POST', '', { resourceType: 'Bundle', type: 'transaction', entry }, headers);

const familiesOf = async (value: string) =>
  (await patientsWith(SYSTEM, value)).map(({ name }: Patient) => name?.[0]?.family);

describe('a transaction Bundle', () => {
  // src/outbox/lanes/lanes.ts sends a patient's deliveries one after the other, and src/fhir/client/gathering.ts keeps apart who shares
  // an identifier: two states of one patient never travel together.
  it('with two PUTs by one identifier drops the second and answers 200, with one entry for the two', async () => {
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

  // src/fhir/client/transaction-bundle.ts reads it so too, in a Bundle only.
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

  // src/fhir/client/transaction-bundle.ts takes no answer in which two entries name one resource.
  it('with a PUT by id and one by identifier of the same resource answers 200 to both, with one version: the last one', async () => {
    const id = await created('MET');
    const { status, body } = await transaction([
      byItsId(id, 'MET', { name: [{ family: 'First' }] }, 'W/"1"'),
      byItsIdentifier('MET', 'Second', url()),
    ]);
    expect(status).toBe(200);
    expect(body.entry.map(({ response }) => response.location)).toEqual(Array(2).fill(`Patient/${id}/_history/2`));
    expect(await familiesOf('MET')).toEqual(['Second']);
  });

  // src/fhir/client/bundling-client.ts sends the halves then: nothing of the Bundle is there.
  it.each<[string, (id: string) => object, number, string]>([
    ['a stale If-Match', (id) => byItsId(id, 'STALE', { gender: 'male' }, 'W/"7"'), 409, 'HAPI-0989'],
    ['an id that is not there', () => byItsId('987654321', 'NOWHERE', {}), 400, 'HAPI-0960'],
    ['a value that cannot be', (id) => byItsId(id, 'STALE', { birthDate: 'tomorrow' }), 400, 'HAPI-1821'],
  ])('with %s in one entry is refused, and none of its writes is done', async (what, bad, status, code) => {
    const [known, other] = [await created(`KEPT ${what}`), await created(`BAD ${what}`)];
    const refused = await transaction<Outcome>([
      byItsId(known, `KEPT ${what}`, { gender: 'male' }, 'W/"1"'),
      byItsIdentifier(`NEW ${what}`, 'New', url()),
      bad(other),
    ]);
    expect(refused.status).toBe(status);
    expect(diagnosticsOf(refused)).toContain(code);
    expect(await readPatient(known)).toMatchObject({ meta: { versionId: '1' }, gender: 'female' });
    expect(await patientsWith(SYSTEM, `NEW ${what}`)).toEqual([]);
  });

  // src/fhir/client/transaction-bundle.ts checks of each what can be checked; whose a new resource is shows by what comes back.
  it('answers in the order of its entries, and gives resources back where asked', async () => {
    const ids = [await created('ORDER-1'), await created('ORDER-3')];
    const sent = [
      byItsId(ids[1] ?? '', 'ORDER-3', { gender: 'male' }, 'W/"1"'),
      byItsIdentifier('ORDER-2', 'New', url()),
      byItsId(ids[0] ?? '', 'ORDER-1', { gender: 'male' }, 'W/"1"'),
      byItsIdentifier('ORDER-4', 'New', url()),
    ];
    const { body } = await transaction(sent, { prefer: 'return=representation' });
    expect(body.entry.map(({ resource }) => resource?.identifier?.[0]?.value)).toEqual([
      'ORDER-3',
      'ORDER-2',
      'ORDER-1',
      'ORDER-4',
    ]);
    expect(body.entry.map(({ response }) => response.status.slice(0, 3))).toEqual(['200', '201', '200', '201']);
    for (const { resource, response } of body.entry)
      expect(response.location).toBe(`Patient/${resource?.id}/_history/${resource?.meta?.versionId}`);
  });

  // src/outbox/writer/writer.ts knows its own write of a Bundle by the body alone.
  it('keeps the id of the whole request in meta.source of each', async () => {
    const headers = { prefer: 'return=minimal', 'x-request-id': '0123456789abcdef' };
    await transaction([byItsIdentifier('SOURCE-1', 'A', url()), byItsIdentifier('SOURCE-2', 'B', url())], headers);
    for (const value of ['SOURCE-1', 'SOURCE-2'])
      expect(await patientsWith(SYSTEM, value)).toMatchObject([{ meta: { source: '#0123456789abcdef' } }]);
  });

  it('keeps the version of an unchanged resource', async () => {
    const id = await created('UNCHANGED');
    const { body } = await transaction([
      byItsId(id, 'UNCHANGED', {}, 'W/"1"'),
      byItsIdentifier('BESIDE', 'New', url()),
    ]);
    expect(body.entry[0]?.response).toMatchObject({ status: '200 OK', location: `Patient/${id}/_history/1` });
  });
});
