// Writing through the client: what exactly is sent, and what is made of each kind of answer.
import { describe, expect, it } from 'vitest';
import type { FhirClient } from '../../src/fhir/client/fhir-client.ts';
import { requestId } from '../../src/fhir/client/request-id.ts';
import type { Patient } from '../../src/fhir/model/resource-types.ts';
import type { Token } from '../../src/fhir/model/token.ts';
import { reply, serveFhir } from '../support/scripted-server.ts';
import { outcomeWith } from './answers.ts';

const MRN: Token = { system: 'https://hospital.example.com/mrn', value: 'MRN-001234' };
const JOHN: Patient = { resourceType: 'Patient', identifier: [MRN], active: true, name: [{ family: 'Smith 🏥' }] };
const CONDITIONAL = 'PUT Patient?identifier=https%3A%2F%2Fhospital.example.com%2Fmrn%7CMRN-001234';
const SEARCH = `${CONDITIONAL.replace('PUT', 'GET')}&_count=2&_elements=id,meta,identifier`;
const EVENT_KEY = 'Patient/7/3';

const found = (...ids: string[]) => ({
  resourceType: 'Bundle',
  entry: ids.map((id) => ({ resource: { resourceType: 'Patient', id, meta: { versionId: '3' }, identifier: [MRN] } })),
});

describe('putByIdentifier', () => {
  it('sends a conditional PUT with all that belongs to it', async () => {
    const { server, fhir, asked } = await serveFhir((_, response) =>
      reply(response, 201, undefined, { location: 'Patient/7/_history/1' }),
    );
    const answer = await fhir.putByIdentifier(JOHN, MRN, EVENT_KEY);
    expect(answer).toEqual({ ok: true, id: '7', versionId: '1', status: 201 });
    expect(asked()).toEqual([CONDITIONAL]);
    const [request] = server.received;
    expect(request?.body).toBe(JSON.stringify(JOHN));
    expect(request?.headers).toMatchObject({
      'content-type': 'application/fhir+json',
      accept: 'application/fhir+json; fhirVersion=4.0, application/fhir+json;q=0.9',
      prefer: 'return=minimal',
      'x-request-id': requestId(EVENT_KEY, JSON.stringify(JOHN)),
      'user-agent': 'fhir-connector/1.2.3',
    });
    expect(request?.headers).not.toHaveProperty('if-match');
    expect(request?.headers).not.toHaveProperty('authorization');
  });

  it.each([
    { system: '', value: '7' },
    { system: 'urn:x', value: 'a|b,c\\d$e' },
    { system: 'urn:x?y=z&_id=1#', value: '%7C&_format=xml#"<>^`{} /..;+é🏥' },
  ])('has the identifier of %j in its URL, and nothing else', async (identifier) => {
    const { server, fhir } = await serveFhir((_, response) => reply(response, 200, '', { location: 'Patient/7' }));
    await fhir.putByIdentifier({ ...JOHN, identifier: [identifier] }, identifier, EVENT_KEY);
    const url = server.received[0]?.url ?? '';
    expect(url).toMatch(/^\/fhir\/Patient\?identifier=[\w.~!*'()%-]+$/);
    const escaped = [identifier.system, identifier.value].map((text) => text.replace(/[\\|,$]/g, '\\$&')).join('|');
    expect([...new URL(url, server.origin).searchParams]).toEqual([['identifier', escaped]]);
  });

  it('refuses a body without the identifier, and sends nothing: HAPI would take it for another patient', async () => {
    const { server, fhir } = await serveFhir((_, response) => reply(response, 200));
    const { identifier: _, ...bare } = JOHN;
    for (const resource of [
      bare,
      { ...JOHN, identifier: [] },
      { ...JOHN, identifier: [{ value: MRN.value }] },
      { ...JOHN, identifier: [{ ...MRN, system: 'urn:other' }] },
      { ...JOHN, identifier: [{ ...MRN, value: 'mrn-001234' }] },
      { ...JOHN, identifier: [{ system: MRN.system }] },
    ]) {
      await expect(fhir.putByIdentifier(resource, MRN, EVENT_KEY)).rejects.toThrow(
        new TypeError('The resource does not have the identifier that it is to be written by.'),
      );
    }
    expect(server.received).toEqual([]);
  });

  it('may go by any identifier that the body has', async () => {
    const { fhir } = await serveFhir((_, response) => reply(response, 200, '', { location: 'Patient/7' }));
    const resource = { ...JOHN, identifier: [{ system: 'urn:other', value: '1' }, MRN] };
    await expect(fhir.putByIdentifier(resource, MRN, EVENT_KEY)).resolves.toMatchObject({ ok: true });
  });

  it.each([
    ['only a body', { resourceType: 'Patient', id: '7', meta: { versionId: '3' } }, {}],
    ['HAPI’s Content-Location', '', { 'content-location': 'http://x/fhir/Patient/7/_history/3' }],
    ['a location and the ETag of a proxy', '', { location: 'Patient/7/_history/3', etag: 'W/"3-gzip"' }],
    ['an ETag for the version', '', { location: 'Patient/7', etag: 'W/"3"' }],
  ])('reads where it went from %s', async (_, body, headers) => {
    const { fhir, asked } = await serveFhir((_, response) => reply(response, 200, body, headers));
    const answer = await fhir.putByIdentifier(JOHN, MRN, EVENT_KEY);
    expect(answer).toEqual({ ok: true, id: '7', versionId: '3', status: 200 });
    expect(asked()).toEqual([CONDITIONAL]);
  });

  it.each([
    ['by the resource', found('7'), { ok: true, id: '7', versionId: '3', status: 200 }],
    ['unless there is none', found(), { ok: false, fault: { code: 'not-fhir', status: 200 } }],
    ['unless there are several', found('7', '8'), { ok: false, fault: { code: 'several-matches' } }],
    ['unless it is no answer', '<html>', { ok: false, fault: { code: 'not-fhir' } }],
  ])('is searched for where the server does not say where it went: found %s', async (_, body, expected) => {
    const { fhir, asked, calls } = await serveFhir(({ method }, response) =>
      reply(response, 200, method === 'PUT' ? outcomeWith('updated') : body),
    );
    await expect(fhir.putByIdentifier(JOHN, MRN, EVENT_KEY)).resolves.toMatchObject(expected);
    expect(asked()).toEqual([CONDITIONAL, SEARCH]);
    expect(calls).toEqual(['PUT ok', 'GET ok']);
  });

  it('hands on what keeps that search from an answer', async () => {
    const { fhir } = await serveFhir(({ method }, response) => reply(response, method === 'PUT' ? 200 : 503));
    await expect(fhir.putByIdentifier(JOHN, MRN, EVENT_KEY)).resolves.toMatchObject({ fault: { code: 'http-503' } });
  });

  it('has gone through, though the rest of the answer is lost', async () => {
    const { fhir } = await serveFhir(({ socket }, response) => {
      response.writeHead(200, { location: 'Patient/7/_history/3', 'content-length': '100' });
      response.write('{', () => socket.destroy());
    });
    await expect(fhir.putByIdentifier(JOHN, MRN, EVENT_KEY)).resolves.toMatchObject({ ok: true, versionId: '3' });
  });

  it('is linked to nothing where the resource that comes back is somebody else’s', async () => {
    const other = { resourceType: 'Patient', id: '8', identifier: [{ system: MRN.system, value: 'another' }] };
    const { fhir } = await serveFhir((_, response) =>
      reply(response, 200, other, { location: 'Patient/8/_history/1' }),
    );
    await expect(fhir.putByIdentifier(JOHN, MRN, EVENT_KEY)).resolves.toMatchObject({
      ok: false,
      fault: { code: 'another-resource', disposition: 'retry' },
    });
  });

  it.each([
    [409, outcomeWith('HAPI-0824: x', 'conflict'), 'create-race', 'retry'],
    [500, outcomeWith('HAPI-0550: x'), 'create-race', 'retry'],
    [422, outcomeWith('x', 'invalid'), 'validation', 'dead-letter'],
    [401, '', 'unauthorized', 'hold'],
    [404, outcomeWith('x'), 'not-supported', 'hold'],
    [404, '<html>', 'not-fhir', 'hold'],
    [202, '', 'not-fhir', 'hold'],
    [302, '', 'redirect', 'hold'],
    [503, '', 'http-503', 'retry'],
  ])('takes %i with %j for %s: %s', async (status, body, code, disposition) => {
    const { fhir, calls, asked } = await serveFhir((_, response) =>
      reply(response, status, body, { 'retry-after': '7', location: 'Patient/7/_history/1' }),
    );
    const answer = await fhir.putByIdentifier(JOHN, MRN, EVENT_KEY);
    expect(answer).toMatchObject({ ok: false, fault: { code, disposition, status } });
    expect(calls).toEqual([`PUT ${code}`]);
    expect(asked()).toEqual([CONDITIONAL]);
    if (!answer.ok && code !== 'not-fhir') expect(answer.fault.retryAfterMs).toBe(7000);
  });
});

describe('a 412 to putByIdentifier', () => {
  async function put(...found: [status: number, body: unknown]) {
    const { fhir, asked } = await serveFhir(({ method }, response) =>
      method === 'PUT'
        ? reply(response, 412, outcomeWith('HAPI-0958: several', 'multiple-matches'))
        : reply(response, ...found),
    );
    const answer = await fhir.putByIdentifier(JOHN, MRN, EVENT_KEY);
    expect(asked()).toEqual([CONDITIONAL, SEARCH]);
    return answer;
  }

  it('is a dead letter with what the server said, where a search finds several', async () => {
    await expect(put(200, found('7', '8'))).resolves.toMatchObject({
      fault: {
        code: 'several-matches',
        disposition: 'dead-letter',
        status: 412,
        outcome: outcomeWith('HAPI-0958: several', 'multiple-matches'),
      },
    });
  });

  it.each([[[]], [['7']]])('is tried again where a search finds %j: two writes met', async (ids) => {
    await expect(put(200, found(...ids))).resolves.toMatchObject({
      fault: { code: 'not-several', disposition: 'retry', attempt: 'counts', status: 412 },
    });
  });

  it('is what keeps that search from an answer', async () => {
    await expect(put(503, '')).resolves.toMatchObject({ fault: { code: 'http-503', status: 503 } });
  });
});

describe('a write', () => {
  it('wants no body of a server that names the version without', async () => {
    const { server, fhir } = await serveFhir((_, response) => reply(response, 200, '', { etag: 'W/"4"' }));
    for (let turn = 1; turn <= 3; turn += 1) await fhir.putById(JOHN, '7', '3', EVENT_KEY);
    expect(server.received.map(({ headers }) => headers.prefer)).toEqual(Array(3).fill('return=minimal'));
  });

  // As Firely Server before 5.5: its answer with return=minimal is empty and has no ETag.
  it.each(['id', 'identifier'])('by %s wants the resource where a minimal answer names no version', async (by) => {
    const { server, fhir } = await serveFhir(({ headers, method }, response) => {
      if (method === 'GET') return reply(response, 200, found('7'));
      const minimal = headers.prefer === 'return=minimal';
      reply(response, 200, minimal ? '' : { resourceType: 'Patient', id: '7', meta: { versionId: '4' } });
    });
    const put = () =>
      by === 'id' ? fhir.putById(JOHN, '7', '3', EVENT_KEY) : fhir.putByIdentifier(JOHN, MRN, EVENT_KEY);
    await put();
    for (let turn = 1; turn <= 2; turn += 1) await expect(put()).resolves.toMatchObject({ id: '7', versionId: '4' });
    const puts = server.received.filter(({ method }) => method === 'PUT');
    expect(puts.map(({ headers }) => headers.prefer)).toEqual([
      'return=minimal',
      'return=representation',
      'return=representation',
    ]);
  });

  it('of a large patient may be answered with all of it, indented, but not with more and more', async () => {
    const large = { ...JOHN, name: [{ family: '医'.repeat(700_000) }] };
    let body = JSON.stringify({ ...large, id: '7', meta: { versionId: '4' } }, null, 2);
    const { fhir } = await serveFhir((_, response) => reply(response, 200, body));
    await expect(fhir.putById(large, '7', '3', EVENT_KEY)).resolves.toMatchObject({ ok: true, versionId: '4' });
    body = 'x'.repeat(5_000_000);
    await expect(fhir.putById(large, '7', '3', EVENT_KEY)).resolves.toMatchObject({
      fault: { code: 'answer-too-large', disposition: 'dead-letter', status: 200 },
    });
  });
});

describe('putById', () => {
  it('sends a PUT by id with the id in the body, and If-Match', async () => {
    const { server, fhir, asked } = await serveFhir((_, response) => reply(response, 200, '', { etag: 'W/"4"' }));
    await expect(fhir.putById(JOHN, '7', '3', EVENT_KEY)).resolves.toEqual({
      ok: true,
      id: '7',
      versionId: '4',
      status: 200,
    });
    expect(asked()).toEqual(['PUT Patient/7']);
    const [request] = server.received;
    expect(request?.body).toBe(JSON.stringify({ ...JOHN, id: '7' }));
    expect(request?.headers).toMatchObject({
      'if-match': 'W/"3"',
      'content-type': 'application/fhir+json',
      prefer: 'return=minimal',
      'x-request-id': requestId(EVENT_KEY, JSON.stringify(JOHN)),
    });
  });

  it('has the request id of the same write by identifier, and the id that was asked for whatever the resource says', async () => {
    const { server, fhir } = await serveFhir((_, response) => reply(response, 200, '', { etag: 'W/"4"' }));
    await fhir.putById(JOHN, '7', '3', EVENT_KEY);
    await fhir.putById({ ...JOHN, id: '8' }, '7', '3', EVENT_KEY);
    await fhir.putByIdentifier(JOHN, MRN, EVENT_KEY);
    const [byId, withAnother, byIdentifier] = server.received;
    expect(byId?.headers['x-request-id']).toBe(byIdentifier?.headers['x-request-id']);
    expect(JSON.parse(withAnother?.body ?? '')).toEqual({ ...JOHN, id: '7' });
  });

  it('has no If-Match where no version is known', async () => {
    const { server, fhir } = await serveFhir((_, response) => reply(response, 201));
    await expect(fhir.putById(JOHN, '7', null, EVENT_KEY)).resolves.toEqual({
      ok: true,
      id: '7',
      versionId: null,
      status: 201,
    });
    expect(server.received[0]?.headers).not.toHaveProperty('if-match');
  });

  it.each([
    [204, '', {}, null],
    [200, '', { location: 'Patient/7/_history/4', etag: 'W/"4-gzip"' }, '4'],
    [200, { resourceType: 'Patient', id: '7', meta: { versionId: '4' } }, { etag: 'W/"4-gzip"' }, '4'],
    [200, outcomeWith('HAPI says that all is well'), { etag: 'W/"4"' }, '4'],
  ])('takes %i with %j and %j for version %j', async (status, body, headers, versionId) => {
    const { fhir } = await serveFhir((_, response) => reply(response, status, body, headers));
    await expect(fhir.putById(JOHN, '7', '3', EVENT_KEY)).resolves.toEqual({ ok: true, id: '7', versionId, status });
  });

  it.each([
    [409, '', 'stale-version', 'conflict'],
    [412, '', 'stale-version', 'conflict'],
    [404, outcomeWith('HAPI-2001: x', 'not-found'), 'gone', 'gone'],
    [410, '', 'gone', 'gone'],
    [400, outcomeWith('HAPI-0960: x'), 'gone', 'gone'],
    [404, '<html>', 'not-fhir', 'hold'],
    [410, '{"error":"gone"}', 'not-fhir', 'hold'],
    [200, '<html>', 'not-fhir', 'hold'],
    [200, '{}', 'not-fhir', 'hold'],
  ])('takes %i with %j for %s: %s', async (status, body, code, disposition) => {
    const { fhir } = await serveFhir((_, response) => reply(response, status, body));
    await expect(fhir.putById(JOHN, '7', '3', EVENT_KEY)).resolves.toMatchObject({
      ok: false,
      fault: { code, disposition, status },
    });
  });

  it('has no version where the answer names another resource: the next write looks before', async () => {
    const location = 'Patient/8/_history/5';
    const { fhir } = await serveFhir((_, response) => reply(response, 200, undefined, { location, etag: 'W/"5"' }));
    await expect(fhir.putById(JOHN, '7', '3', EVENT_KEY)).resolves.toMatchObject({
      ok: true,
      id: '7',
      versionId: null,
    });
  });

  it.each([200, 404, 410])(
    'takes %i with half a body for a broken connection, not for another server',
    async (status) => {
      const { fhir } = await serveFhir(({ socket }, response) => {
        response.writeHead(status, { 'content-length': '100' });
        response.write('{', () => socket.destroy());
      });
      await expect(fhir.putById(JOHN, '7', '3', EVENT_KEY)).resolves.toMatchObject({
        fault: { code: 'network', disposition: 'retry', status },
      });
    },
  );

  it('keeps the OperationOutcome for the dead letter', async () => {
    const { fhir } = await serveFhir((_, response) => reply(response, 422, outcomeWith('Smith is no name')));
    const answer = await fhir.putById(JOHN, '7', '3', EVENT_KEY);
    expect(answer).toMatchObject({ fault: { outcome: outcomeWith('Smith is no name') } });
    expect(answer.ok || answer.fault.reason).not.toContain('Smith');
  });
});

describe('a write that the access token does not allow', () => {
  it.each([
    ['a PUT by id', (fhir: FhirClient) => fhir.putById(JOHN, '7', null, EVENT_KEY)],
    ['a PUT by identifier', (fhir: FhirClient) => fhir.putByIdentifier(JOHN, MRN, EVENT_KEY)],
    ['a DELETE', (fhir: FhirClient) => fhir.deleteById('Patient', '7', EVENT_KEY)],
  ])('is no fault of the patient: %s', async (_, write) => {
    const headers = { 'www-authenticate': 'Bearer realm="fhir", error="insufficient_scope", scope="system/Patient.d"' };
    const { fhir } = await serveFhir((_, response) => reply(response, 403, undefined, headers));
    await expect(write(fhir)).resolves.toMatchObject({
      ok: false,
      fault: { code: 'insufficient-scope', disposition: 'hold', attempt: 'never', status: 403 },
    });
  });
});
