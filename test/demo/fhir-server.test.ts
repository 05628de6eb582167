// The demonstration's FHIR server, through the connector's own client and, where that does not go, by plain HTTP.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type FhirServer, startFhirServer } from '../../demo/fhir-server.ts';
import type { FhirWrite } from '../../demo/fhir-write.ts';
import { lacking } from '../../src/fhir/client/capabilities.ts';
import { createFhirClient } from '../../src/fhir/client/create-client.ts';
import type { FhirClient } from '../../src/fhir/client/fhir-client.ts';
import type { Patient } from '../../src/fhir/model/resource-types.ts';

const SYSTEM = 'https://hospital.example.com/mrn';
const writes: FhirWrite[] = [];
let server: FhirServer;
let client: FhirClient;

beforeAll(async () => {
  server = await startFhirServer({ onWrite: (write) => writes.push(write) });
  const config = { baseUrl: server.url, concurrency: 20, timeoutMs: 30_000, userAgent: 'test' };
  client = createFhirClient(config, () => undefined);
}, 60_000);

afterAll(async () => {
  await client.close();
  await server.close();
});

/** A patient with an identifier that no other test has. */
function patient(value = `MRN-${randomUUID()}`, rest: Partial<Patient> = {}) {
  const identifier = { system: SYSTEM, value };
  const resource: Patient = {
    resourceType: 'Patient',
    identifier: [identifier],
    active: true,
    gender: 'unknown',
    ...rest,
  };
  return { resource, identifier };
}

async function created() {
  const one = patient();
  const answer = await client.putByIdentifier(one.resource, one.identifier, 'request-1');
  if (!answer.ok) throw new Error(answer.fault.reason);
  return { ...one, id: answer.id };
}

function http(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${server.url}/${path}`, init);
}

describe('what the connector needs', () => {
  test('is offered in the CapabilityStatement', async () => {
    const answer = await client.capabilities();
    if (!answer.ok) throw new Error(answer.fault.reason);
    expect(answer.capabilities).toMatchObject({ software: 'Medplum' });
    expect(
      lacking(answer.capabilities, {
        update: 'by-id',
        deletes: 'delete',
        batchSize: 2,
        resources: ['Patient', 'Encounter', 'Observation'],
      }),
    ).toEqual([]);
    expect(await client.probe()).toBeNull();
  });

  test('a PUT by identifier creates once, then updates the same resource', async () => {
    const { resource, identifier } = patient();
    const first = await client.putByIdentifier(resource, identifier, 'request-1');
    const second = await client.putByIdentifier({ ...resource, gender: 'female' }, identifier, 'request-2');
    expect(first).toMatchObject({ ok: true, status: 201, versionId: '1' });
    expect(second).toEqual({ ...first, status: 200, versionId: '2' });
  });

  test('of several PUTs with one identifier at once, one creates and the others update', async () => {
    const { resource, identifier } = patient();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => client.putByIdentifier(resource, identifier, `request-${n}`)),
    );
    expect(answers.map((answer) => answer.ok && answer.status).toSorted()).toEqual([...Array(19).fill(200), 201]);
    expect(new Set(answers.map((answer) => answer.ok && answer.id)).size).toBe(1);
    expect(new Set(answers.map((answer) => answer.ok && answer.versionId)).size).toBe(20);
  });

  test('a PUT by id with a stale If-Match is refused, and changes nothing', async () => {
    const { resource, id } = await created();
    expect(await client.putById(resource, id, '1', 'request-2')).toMatchObject({
      ok: true,
      status: 200,
      versionId: '2',
    });
    const stale = await client.putById({ ...resource, gender: 'male' }, id, '1', 'request-3');
    expect(stale).toMatchObject({ ok: false, fault: { code: 'stale-version', status: 412 } });
    expect(await client.read('Patient', id)).toMatchObject({
      ok: true,
      versionId: '2',
      resource: { gender: 'unknown' },
    });
  });

  test('a deleted resource is gone, its identifier is free, and a PUT without If-Match brings it back', async () => {
    const { resource, identifier, id } = await created();
    expect(await client.deleteById('Patient', id, 'request-2')).toMatchObject({
      ok: true,
      status: 204,
      versionId: '2',
    });
    expect(await client.deleteById('Patient', id, 'request-3')).toMatchObject({ ok: true });
    expect(await client.read('Patient', id)).toMatchObject({ ok: false, fault: { code: 'gone', status: 410 } });
    expect(await client.search('Patient', identifier)).toEqual({ ok: true, matches: [] });
    expect(await client.putById(resource, id, '1', 'request-4')).toMatchObject({ ok: false, fault: { status: 410 } });
    expect(await client.putById(resource, id, null, 'request-5')).toMatchObject({ ok: true, versionId: '3' });
    expect(await client.search('Patient', identifier)).toEqual({ ok: true, matches: [{ id, versionId: '3' }] });
  });

  test.each([
    ['commas', 'A,B'],
    ['bars', 'A|B'],
    ['dollars', 'A$B'],
    ['backslashes', 'A\\,B'],
    ['percent signs', '100% %7C'],
    ['letters beyond ASCII', 'Ünï-漢'],
  ])('finds identifiers with %s', async (_, value) => {
    const { resource, identifier } = patient(value);
    const first = await client.putByIdentifier(resource, identifier, 'request-1');
    const second = await client.putByIdentifier(resource, identifier, 'request-2');
    expect(first).toMatchObject({ ok: true, status: 201 });
    expect(second).toMatchObject({ ok: true, status: 200, id: first.ok && first.id });
  });

  test('takes identifiers that differ in case or system for different patients', async () => {
    const upper = patient('case-A');
    const lower = patient('case-a');
    const bare = patient('case-A', { identifier: [{ value: 'case-A' }] });
    await client.putByIdentifier(upper.resource, upper.identifier, 'request-1');
    const others = [
      await client.putByIdentifier(lower.resource, lower.identifier, 'request-2'),
      await client.putByIdentifier(bare.resource, { system: '', value: 'case-A' }, 'request-3'),
    ];
    expect(others).toMatchObject([{ status: 201 }, { status: 201 }]);
    expect(await client.search('Patient', upper.identifier)).toMatchObject({ matches: [{ versionId: '1' }] });
  });

  test('follows an identifier that moves from one patient to another', async () => {
    const from = await created();
    const to = await created();
    await client.putById(
      { ...from.resource, identifier: [{ system: SYSTEM, value: 'left' }] },
      from.id,
      '1',
      'request-2',
    );
    const both = [...(to.resource.identifier ?? []), from.identifier];
    await client.putById({ ...to.resource, identifier: both }, to.id, '1', 'request-3');
    expect(await client.search('Patient', from.identifier)).toMatchObject({ matches: [{ id: to.id }] });
  });

  test('two resources with one identifier are several matches', async () => {
    const { resource, identifier } = await created();
    await client.putById(resource, 'another', null, 'request-2');
    const answer = await client.putByIdentifier(resource, identifier, 'request-3');
    expect(answer).toMatchObject({ ok: false, fault: { code: 'several-matches', status: 412 } });
  });

  test.each([
    ['a date that is none', { birthDate: '1990-1-5' }],
    ['an element that a Patient does not have', { shoeSize: 43 }],
  ])('refuses a resource with %s', async (_, wrong) => {
    const { resource, identifier } = patient();
    const answer = await client.putByIdentifier({ ...resource, ...wrong } as Patient, identifier, 'request-1');
    expect(answer).toMatchObject({ ok: false, fault: { code: 'validation', status: 400 } });
    expect(await client.search('Patient', identifier)).toEqual({ ok: true, matches: [] });
  });
});

describe('what people look at', () => {
  test('the headers of a write name the version, and the request', async () => {
    const { resource } = patient();
    const response = await http('Patient?identifier=https%3A%2F%2Fhospital.example.com%2Fmrn%7CMRN-headers', {
      method: 'PUT',
      headers: { 'content-type': 'application/fhir+json', 'x-request-id': 'abc123' },
      body: JSON.stringify(resource),
    });
    const { id } = (await response.json()) as { id: string };
    expect(response.status).toBe(201);
    expect(response.headers.get('etag')).toBe('W/"1"');
    expect(response.headers.get('location')).toBe(`${server.url}/Patient/${id}/_history/1`);
    expect(response.headers.get('content-location')).toBe(`${server.url}/Patient/${id}/_history/1`);
    expect(new Date(response.headers.get('last-modified') ?? '').getTime()).toBeGreaterThan(Date.now() - 60_000);
    expect(response.headers.get('x-request-id')).toBe('abc123');
    const write = { method: 'PUT', status: 201, reference: `Patient/${id}`, versionId: '1', ifMatch: null };
    expect(writes.at(-1)).toEqual({ ...write, target: `Patient?identifier=${SYSTEM}|MRN-headers` });
  });

  test('the history has every version, newest first, each time it is read, also after a delete', async () => {
    const { resource, id } = await created();
    await client.putById({ ...resource, gender: 'female' }, id, '1', 'request-2');
    await client.deleteById('Patient', id, 'request-3');
    for (const _ of [1, 2]) {
      const history = await (await http(`Patient/${id}/_history`)).json();
      expect(history).toMatchObject({
        total: 3,
        entry: [
          { request: { method: 'DELETE' } },
          { resource: { gender: 'female', meta: { versionId: '2' } } },
          { resource: { gender: 'unknown', meta: { versionId: '1' } } },
        ],
      });
    }
    expect(await (await http(`Patient/${id}/_history/1`)).json()).toMatchObject({ gender: 'unknown' });
    expect((await http(`Patient/${id}/_history/3`)).status).toBe(410);
    expect((await http(`Patient/${id}/_history/9`)).status).toBe(404);
  });

  test('_summary, _count and _elements cut an answer down', async () => {
    const { id } = await created();
    const all = (await (await http('Patient?_summary=count')).json()) as { total: number; entry?: unknown };
    expect(all.total).toBeGreaterThan(0);
    expect(all.entry).toBeUndefined();
    const one = (await (await http('Patient?_count=1')).json()) as { entry: unknown[]; total: number };
    expect(one.entry).toHaveLength(1);
    expect(one.total).toBe(all.total);
    const few = (await (await http(`Patient?_id=${id}&_elements=gender`)).json()) as { entry: { resource: object }[] };
    expect(few.entry.map(({ resource }) => Object.keys(resource).toSorted())).toEqual([
      ['gender', 'id', 'meta', 'resourceType'],
    ]);
  });

  test('a list is read to its end by the next links', async () => {
    for (let n = 0; n < 3; n += 1) await created();
    type Page = { total: number; link: { relation: string; url: string }[]; entry: { resource: { id: string } }[] };
    const ids: string[] = [];
    let total = 0;
    for (let next: string | undefined = `${server.url}/Patient?_count=2`; next !== undefined; ) {
      const page = (await (await fetch(next)).json()) as Page;
      total = page.total;
      ids.push(...page.entry.map(({ resource }) => resource.id));
      next = page.link.find(({ relation }) => relation === 'next')?.url;
    }
    expect(total).toBeGreaterThan(2);
    expect(new Set(ids).size).toBe(total);
    expect(ids).toHaveLength(total);
  });

  test('what is no FHIR request gets an OperationOutcome and no crash', async () => {
    const put = (body: string) => http('Patient/1', { method: 'PUT', body });
    const answers = await Promise.all([
      http('Nothing/1'),
      http('../elsewhere'),
      put('{'),
      put(''),
      put('[]'),
      put('null'),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 400, 400, 400, 400]);
    for (const answer of answers) expect(await answer.json()).toMatchObject({ resourceType: 'OperationOutcome' });
  });
});

test('takes another port where the one asked for is taken', async () => {
  const other = await startFhirServer({ port: server.port });
  expect(other.port).not.toBe(server.port);
  await other.close();
}, 60_000);

describe('a transaction Bundle', () => {
  const entry = (resource: Patient, url: string, ifMatch?: string) => ({
    fullUrl: `urn:uuid:${randomUUID()}`,
    resource,
    request: { method: 'PUT', url, ...(ifMatch && { ifMatch }) },
  });
  const post = (entries: object[], prefer = 'return=minimal') =>
    http('', {
      method: 'POST',
      headers: { 'content-type': 'application/fhir+json', prefer },
      body: JSON.stringify({ resourceType: 'Bundle', type: 'transaction', entry: entries }),
    });

  test('is applied as a whole, and says where each write went', async () => {
    const known = await created();
    const fresh = patient();
    const byIdentifier = `Patient?identifier=${encodeURIComponent(`${SYSTEM}|${fresh.identifier.value}`)}`;
    const answer = await post([
      entry({ ...known.resource, id: known.id, gender: 'female' }, `Patient/${known.id}`, 'W/"1"'),
      entry(fresh.resource, byIdentifier),
    ]);
    expect(answer.status).toBe(200);
    const found = await client.search('Patient', fresh.identifier);
    const id = found.ok && found.matches[0]?.id;
    expect(await answer.json()).toMatchObject({
      resourceType: 'Bundle',
      type: 'transaction-response',
      entry: [
        { response: { status: '200', location: `Patient/${known.id}/_history/2`, etag: 'W/"2"' } },
        { response: { status: '201', location: `Patient/${id}/_history/1`, etag: 'W/"1"' } },
      ],
    });
    expect(writes.slice(-2)).toMatchObject([
      {
        method: 'PUT',
        target: `Patient/${known.id}`,
        ifMatch: 'W/"1"',
        reference: `Patient/${known.id}`,
        versionId: '2',
      },
      { method: 'PUT', ifMatch: null, reference: `Patient/${id}`, versionId: '1', status: 201 },
    ]);
  });

  test('leaves nothing behind when one of its writes fails: no version, no identifier, no resource', async () => {
    const [first, second] = [await created(), await created()];
    const fresh = patient();
    const byIdentifier = `Patient?identifier=${encodeURIComponent(`${SYSTEM}|${fresh.identifier.value}`)}`;
    const moved = patient().identifier;
    const answer = await post([
      entry({ ...first.resource, id: first.id, identifier: [moved] }, `Patient/${first.id}`, 'W/"1"'),
      entry(fresh.resource, byIdentifier),
      entry({ ...second.resource, id: second.id, gender: 'male' }, `Patient/${second.id}`, 'W/"7"'),
    ]);
    expect(answer.status).toBe(412);
    expect(await client.read('Patient', first.id)).toMatchObject({ versionId: '1', resource: first.resource });
    expect(await client.search('Patient', first.identifier)).toMatchObject({ matches: [{ id: first.id }] });
    for (const identifier of [moved, fresh.identifier])
      expect(await client.search('Patient', identifier)).toEqual({ ok: true, matches: [] });
    expect(await client.putById({ ...first.resource, gender: 'other' }, first.id, '1', '')).toMatchObject({
      versionId: '2',
    });
  });
});
