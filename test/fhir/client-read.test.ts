// Looking through the client: search, read, the probe and the capabilities, and what is no answer to them.
import { describe, expect, it } from 'vitest';
import { fixedCredentials } from '../../src/fhir/authorization/credentials.ts';
import { reply, serveFhir } from '../support/scripted-server.ts';
import { outcomeWith } from './answers.ts';

const MRN = { system: 'urn:mrn', value: 'MRN-1' };
const EVENT_KEY = 'Patient/7/3';

const patient = (id: string, identifier: unknown = [MRN], versionId?: string) => ({
  resourceType: 'Patient',
  id,
  meta: { versionId },
  identifier,
});
const bundle = (...resources: unknown[]) => ({
  resourceType: 'Bundle',
  type: 'searchset',
  entry: resources.map((resource) => ({ resource })),
});

describe('search', () => {
  async function search(body: unknown, status = 200) {
    const { fhir } = await serveFhir((_, response) => reply(response, status, body));
    return fhir.search('Patient', MRN);
  }

  it('asks for two at most, for no more of them than is needed, and strictly', async () => {
    const { server, fhir, asked } = await serveFhir((_, response) => reply(response, 200, bundle()));
    await expect(fhir.search('Patient', MRN)).resolves.toEqual({ ok: true, matches: [] });
    expect(asked()).toEqual(['GET Patient?identifier=urn%3Amrn%7CMRN-1&_count=2&_elements=id,meta,identifier']);
    expect(server.received[0]?.headers).toMatchObject({
      prefer: 'handling=strict',
      accept: 'application/fhir+json; fhirVersion=4.0, application/fhir+json;q=0.9',
    });
  });

  it('finds resources with their versions', async () => {
    await expect(search(bundle(patient('7', [MRN], '3'), patient('8')))).resolves.toEqual({
      ok: true,
      matches: [
        { id: '7', versionId: '3' },
        { id: '8', versionId: null },
      ],
    });
  });

  it.each([
    ['a bundle without entries', { resourceType: 'Bundle' }, 0],
    ['a bundle whose entries are no list', { resourceType: 'Bundle', entry: {} }, 0],
    ['entries without a resource', { resourceType: 'Bundle', entry: [{ fullUrl: 'x' }, null, 7, { resource: [] }] }, 0],
    ['an OperationOutcome among them', bundle(outcomeWith('a warning'), patient('7')), 1],
    ['another type among them', bundle({ resourceType: 'Observation', id: '1' }, patient('7')), 1],
    ['one without an id', bundle({ resourceType: 'Patient', identifier: [MRN] }), 0],
    ['one that leaves the identifiers out', bundle({ resourceType: 'Patient', id: '7' }), 1],
    ['one that differs in case and white space', bundle(patient('7', [{ value: ' mrn-1 ' }])), 1],
    ['one that has others too', bundle(patient('7', [{ value: '1' }, null, MRN])), 1],
  ])('understands %s', async (_, body, count) => {
    const answer = await search(body);
    expect(answer.ok && answer.matches.length).toBe(count);
  });

  it.each([
    ['another identifier', [{ system: 'urn:mrn', value: 'MRN-2' }]],
    ['one that only begins so', [{ value: 'MRN-11' }]],
    ['no identifier at all', []],
    ['identifiers without a value', [{ system: 'urn:mrn' }, { value: 7 }]],
  ])('that finds a resource with %s has been ignored', async (_, identifier) => {
    await expect(search(bundle(patient('7'), patient('8', identifier)))).resolves.toMatchObject({
      ok: false,
      fault: { code: 'search-ignored', disposition: 'hold', status: 200 },
    });
  });

  it.each([
    [200, patient('7'), 'not-fhir', 'hold'],
    [200, '<html>', 'not-fhir', 'hold'],
    [200, '', 'not-fhir', 'hold'],
    [400, outcomeWith('HAPI-0524: unknown parameter'), 'validation', 'dead-letter'],
    [404, outcomeWith('x'), 'not-supported', 'hold'],
    [500, '<html>', 'http-500', 'retry'],
  ])('takes %i with %j for %s: %s', async (status, body, code, disposition) => {
    await expect(search(body, status)).resolves.toMatchObject({ ok: false, fault: { code, disposition, status } });
  });
});

describe('read', () => {
  it('has the resource with its version', async () => {
    const resource = patient('7', [MRN], '3');
    const { fhir, asked } = await serveFhir((_, response) => reply(response, 200, resource, { etag: 'W/"3-gzip"' }));
    await expect(fhir.read('Patient', '7')).resolves.toEqual({ ok: true, resource, versionId: '3' });
    expect(asked()).toEqual(['GET Patient/7']);
  });

  it('takes the version from the ETag, or has none', async () => {
    const headers: Record<string, string> = { etag: 'W/"3"' };
    const { fhir } = await serveFhir((_, response) => reply(response, 200, patient('7'), headers));
    await expect(fhir.read('Patient', '7')).resolves.toMatchObject({ versionId: '3' });
    delete headers.etag;
    await expect(fhir.read('Patient', '7')).resolves.toMatchObject({ versionId: null });
  });

  it('may be of some megabytes', async () => {
    const resource = { ...patient('7'), name: [{ text: 'x'.repeat(4_000_000) }] };
    const { fhir } = await serveFhir((_, response) => reply(response, 200, resource));
    await expect(fhir.read('Patient', '7')).resolves.toMatchObject({ ok: true, resource: { name: resource.name } });
  });

  it.each([
    [404, '', 'gone', 'gone'],
    [410, outcomeWith('x', 'deleted'), 'gone', 'gone'],
    [404, '<html>', 'not-fhir', 'hold'],
    [200, '', 'not-fhir', 'hold'],
    [200, outcomeWith('x'), 'not-fhir', 'hold'],
    [200, { resourceType: 'Observation', id: '7' }, 'not-fhir', 'hold'],
    [200, { resourceType: 'Patient', id: '8' }, 'not-fhir', 'hold'],
    [200, { resourceType: 'Patient', id: [] }, 'not-fhir', 'hold'],
  ])('takes %i with %j for %s: %s', async (status, body, code, disposition) => {
    const { fhir } = await serveFhir((_, response) => reply(response, status, body));
    await expect(fhir.read('Patient', '7')).resolves.toMatchObject({ ok: false, fault: { code, disposition, status } });
  });

  it('that is answered by half is a broken connection, or a timeout', async () => {
    const half = '{"resourceType":"Patient",';
    const broken = await serveFhir(({ socket }, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write(half, () => socket.destroy());
    });
    await expect(broken.fhir.read('Patient', '7')).resolves.toMatchObject({ fault: { code: 'network', status: 200 } });
    const silent = await serveFhir((_, response) => void response.writeHead(200).write(half), { timeoutMs: 1000 });
    await expect(silent.fhir.read('Patient', '7')).resolves.toMatchObject({ fault: { code: 'timeout', status: 200 } });
  });
});

describe('probe', () => {
  it('searches, for which a server needs its database', async () => {
    const { fhir, asked, calls } = await serveFhir((_, response) => reply(response, 200, { ...bundle(), total: 5 }));
    await expect(fhir.probe()).resolves.toBeNull();
    expect(asked()).toEqual(['GET Patient?_summary=count']);
    expect(calls).toEqual(['GET ok']);
  });

  it.each([
    [503, '', 'http-503'],
    [500, outcomeWith('no database'), 'http-500'],
    [200, '<html>', 'not-fhir'],
    [200, outcomeWith('x'), 'not-fhir'],
    [403, '', 'forbidden'],
  ])('fails with %i and %j: %s', async (status, body, code) => {
    const { fhir } = await serveFhir((_, response) => reply(response, status, body));
    await expect(fhir.probe()).resolves.toMatchObject({ code, status });
  });

  it('and the capabilities are answered while all others hang, over a connection of their own', async () => {
    const hanging = Promise.withResolvers<void>();
    let hung = 0;
    const { server, fhir } = await serveFhir(
      ({ url }, response) => {
        if (url.includes('_summary')) reply(response, 200, bundle());
        else if (url.endsWith('/metadata'))
          reply(response, 200, { resourceType: 'CapabilityStatement', fhirVersion: '4.0.1' });
        else {
          hung += 1;
          if (hung === 3) hanging.resolve();
        }
      },
      { concurrency: 3 },
    );
    const sent = ['1', '2', '3', '4'].map((id) => fhir.read('Patient', id));
    await hanging.promise;
    await expect(fhir.probe()).resolves.toBeNull();
    await expect(fhir.capabilities()).resolves.toMatchObject({ ok: true });
    await expect(fhir.probe()).resolves.toBeNull();
    expect(server.received.map(({ connection }) => connection).slice(3)).toEqual([4, 4, 4]);
    await fhir.close();
    expect((await Promise.all(sent)).map((answer) => answer.ok || answer.fault.code)).toEqual(Array(4).fill('network'));
  });
});

describe('capabilities', () => {
  it('asks for the statement, which may be large', async () => {
    const statement = {
      resourceType: 'CapabilityStatement',
      fhirVersion: '4.0.1',
      software: { name: 'Blaze' },
      description: 'x'.repeat(2_000_000),
    };
    const { fhir, asked } = await serveFhir((_, response) => reply(response, 200, statement));
    await expect(fhir.capabilities()).resolves.toMatchObject({ ok: true, capabilities: { software: 'Blaze' } });
    expect(asked()).toEqual(['GET metadata']);
  });

  it.each([
    [200, { resourceType: 'CapabilityStatement', fhirVersion: '5.0.0' }, 'not-r4'],
    [200, '<html>', 'not-fhir'],
    [404, '<html>', 'not-fhir'],
    [404, '', 'no-capability-statement'],
    [501, '', 'not-supported'],
    [401, '', 'unauthorized'],
    [503, '', 'http-503'],
  ])('takes %i with %j for %s', async (status, body, code) => {
    const { fhir } = await serveFhir((_, response) => reply(response, status, body));
    await expect(fhir.capabilities()).resolves.toMatchObject({ ok: false, fault: { code, status } });
  });

  it('that are answered by half are no other server', async () => {
    const { fhir } = await serveFhir(({ socket }, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{', () => socket.destroy());
    });
    await expect(fhir.capabilities()).resolves.toMatchObject({ ok: false, fault: { code: 'network' } });
  });
});

describe('each request', () => {
  it('has its authorization, and is told with how it ended', async () => {
    const identifier = [MRN];
    const { server, fhir, calls } = await serveFhir(
      ({ method }, response) => reply(response, method === 'GET' ? 503 : 204),
      {
        credentials: fixedCredentials('token'),
      },
    );
    await fhir.putById({ resourceType: 'Patient', identifier }, '7', null, EVENT_KEY);
    await fhir.deleteById('Patient', '7', EVENT_KEY);
    await fhir.search('Patient', MRN);
    await fhir.read('Patient', '7');
    await fhir.probe();
    await fhir.capabilities();
    expect(calls).toEqual(['PUT ok', 'DELETE ok', ...Array(4).fill('GET http-503')]);
    expect(new Set(server.received.map(({ headers }) => headers.authorization))).toEqual(new Set(['Bearer token']));
  });

  it('without a token is a fault that keeps all others back', async () => {
    const { fhir, calls, asked } = await serveFhir((_, response) => reply(response, 204), {
      credentials: {
        ...fixedCredentials(null),
        header: async () => ({ ok: false, cause: 'token', detail: 'HTTP 500' }),
      },
    });
    await expect(fhir.deleteById('Patient', '7', EVENT_KEY)).resolves.toMatchObject({
      fault: {
        code: 'token',
        disposition: 'retry',
        attempt: 'never',
        stopsSends: true,
        status: null,
        reason: expect.stringMatching(/\(HTTP 500\)$/),
      },
    });
    expect(calls).toEqual(['DELETE token']);
    expect(asked()).toEqual([]);
  });
});

describe('the list of all resources', () => {
  const page = (next: string | null, ...ids: string[]) => ({
    ...bundle(...ids.map((id) => patient(id)), outcomeWith('a warning')),
    link: [{ relation: 'self', url: 'http://elsewhere' }, ...(next === null ? [] : [{ relation: 'next', url: next }])],
  });

  it('is asked for page by page at our own address, whatever the server calls itself', async () => {
    const pages = [
      page('http://fhir.internal:8080/fhir?_getpages=a%7Cb', '1'),
      page('https://fhir.internal/fhir/Patient?page=3', '2'),
      page('Patient?page=4', '3'),
      page(null, '4'),
    ];
    const { fhir, asked } = await serveFhir((_, response) => reply(response, 200, pages.shift()));
    const found: unknown[] = [];
    for (let next: string | null = null, first = true; first || next !== null; first = false) {
      const answer = await fhir.list('Patient', null, ['identifier', 'active'], next);
      if (!answer.ok) throw new Error(answer.fault.code);
      found.push(...answer.resources.map(({ id }) => id));
      next = answer.next;
    }
    expect(found).toEqual(['1', '2', '3', '4']);
    expect(asked()).toEqual([
      'GET Patient?_elements=identifier,active&_count=500',
      'GET ?_getpages=a%7Cb',
      'GET Patient?page=3',
      'GET Patient?page=4',
    ]);
  });

  it.each([
    ['a next page that is elsewhere', page('http://fhir.internal/other/Patient?page=2')],
    ['a next page that is no address', page('http://')],
    ['no bundle', patient('7')],
  ])('does not end early with %s', async (_, body) => {
    const { fhir } = await serveFhir((_request, response) => reply(response, 200, body));
    await expect(fhir.list('Patient', null, ['identifier'], null)).resolves.toMatchObject({ ok: false });
  });

  it('is of those with an identifier of one system, where that is asked for', async () => {
    const { fhir, asked } = await serveFhir((_, response) => reply(response, 200, page(null, '1')));
    await fhir.list('Patient', 'urn:uuid:1', ['identifier'], null);
    expect(asked()).toEqual(['GET Patient?identifier=urn%3Auuid%3A1%7C&_elements=identifier&_count=500']);
  });
});

describe('the count', () => {
  it.each([
    [{ resourceType: 'Bundle', total: 17 }, 17],
    [{ resourceType: 'Bundle' }, null],
    [{ resourceType: 'Bundle', total: -1 }, null],
    [{ resourceType: 'Bundle', total: 1e300 }, null],
  ])('is what the server says, if it does', async (body, total) => {
    const { fhir, asked } = await serveFhir((_, response) => reply(response, 200, body));
    await expect(fhir.count('Patient')).resolves.toEqual({ ok: true, total });
    expect(asked()).toEqual(['GET Patient?_summary=count']);
  });
});
