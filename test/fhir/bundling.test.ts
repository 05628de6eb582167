// PUTs that are gathered: what travels together, what each is told, and how little a refusal, a failure or a lost slot of one
// matters to the others.
import { describe, expect, it } from 'vitest';
import { fixedCredentials } from '../../src/fhir/authorization/credentials.ts';
import type { FhirClientConfig } from '../../src/fhir/client/create-client.ts';
import type { FhirClient, WriteAnswer } from '../../src/fhir/client/fhir-client.ts';
import type { Patient } from '../../src/fhir/model/resource-types.ts';
import type { Token } from '../../src/fhir/model/token.ts';
import { type Handler, reply, serveFhir } from '../support/scripted-server.ts';
import { outcomeWith } from './answers.ts';

interface Entry {
  readonly resource: Patient;
  readonly request: { readonly url: string; readonly ifMatch?: string };
}

const token = (value: string): Token => ({ system: 'urn:mrn', value });
const patient = (value: string): Patient => ({ resourceType: 'Patient', identifier: [token(value)] });
const entriesOf = (body: string): Entry[] => (JSON.parse(body) as { entry: Entry[] }).entry;
const valuesOf = (body: string): string[] => entriesOf(body).map(({ resource }) => nameOf(resource));
const nameOf = (resource: Patient): string => resource.identifier?.[0]?.value ?? '';

/** Does what is asked, unless `refuse` says otherwise of the values in a request. */
function server(
  refuse: (values: string[], bundle: boolean) => [number, unknown?] | undefined = () => undefined,
): Handler {
  return ({ method, url, body }, response) => {
    if (method === 'GET') {
      const id = url.split('/').at(-1) ?? '';
      return reply(response, 200, { ...patient(id.slice(1)), id, meta: { versionId: '4' } });
    }
    const bundle = method === 'POST';
    const values = bundle ? valuesOf(body) : [nameOf(JSON.parse(body) as Patient)];
    const refused = refuse(values, bundle);
    if (refused) return reply(response, ...refused);
    if (!bundle) return reply(response, 200, undefined, { location: `Patient/r${values[0]}/_history/4` });
    const entry = entriesOf(body).map(({ resource, request }) => ({
      ...(request.url.includes('?') && { resource: { ...resource, id: `r${nameOf(resource)}` } }),
      response: { status: '200 OK', location: `Patient/r${nameOf(resource)}/_history/4`, etag: '4' },
    }));
    reply(response, 200, { resourceType: 'Bundle', type: 'transaction-response', entry });
  };
}

async function bundling(handler: Handler, config: Partial<FhirClientConfig> = {}) {
  const smaller: number[] = [];
  const all = await serveFhir(handler, { batchSize: 8, onSmallerBundles: (size) => smaller.push(size), ...config });
  /** Each request as the values that it was about: [A B C] of a Bundle, A of a PUT. */
  const sent = () =>
    all.server.received.map(({ method, url, body }) => {
      if (method === 'GET') return `GET ${url.split('/').at(-1)}`;
      return method === 'POST' ? `[${valuesOf(body).join(' ')}]` : nameOf(JSON.parse(body) as Patient);
    });
  return { ...all, sent, smaller };
}

const put = (fhir: FhirClient, value: string, sending?: Parameters<FhirClient['putById']>[4]): Promise<WriteAnswer> =>
  fhir.putById(patient(value), `r${value}`, '3', `Patient/${value}/1`, sending);
const putAll = (fhir: FhirClient, ...values: string[]) => Promise.all(values.map((value) => put(fhir, value)));
const codes = (answers: readonly WriteAnswer[]) => answers.map((answer) => (answer.ok ? 'ok' : answer.fault.code));
const done = (value: string) => ({ ok: true, id: `r${value}`, versionId: '4', status: 200 });

describe('PUTs that are ready at once', () => {
  it('go in one Bundle, and each has an answer of its own', async () => {
    const { fhir, sent, server: peer, calls } = await bundling(server());
    const answers = await Promise.all([
      put(fhir, 'A'),
      fhir.putByIdentifier(patient('B'), token('B'), 'Patient/2/1'),
      put(fhir, 'C'),
    ]);
    expect(answers).toEqual([done('A'), done('B'), done('C')]);
    expect(sent()).toEqual(['[A B C]']);
    expect(calls).toEqual(['POST ok']);
    const [request] = peer.received;
    expect(request?.url).toBe('/fhir');
    expect(request?.headers).toMatchObject({
      'content-type': 'application/fhir+json',
      prefer: 'return=representation',
      'x-request-id': expect.stringMatching(/^[0-9a-f]{16}$/),
    });
    expect(entriesOf(request?.body ?? '').map(({ request }) => request)).toEqual([
      { method: 'PUT', url: 'Patient/rA', ifMatch: 'W/"3"' },
      { method: 'PUT', url: 'Patient?identifier=urn%3Amrn%7CB' },
      { method: 'PUT', url: 'Patient/rC', ifMatch: 'W/"3"' },
    ]);
  });

  it('ask for no resources back when all go by id', async () => {
    const { fhir, server: peer } = await bundling(server());
    await putAll(fhir, 'A', 'B');
    expect(peer.received[0]?.headers.prefer).toBe('return=minimal');
  });

  it('go as a plain PUT where there is one alone', async () => {
    const { fhir, server: peer } = await bundling(server());
    expect(await put(fhir, 'A')).toEqual(done('A'));
    expect(peer.received.map(({ method, url }) => `${method} ${url}`)).toEqual(['PUT /fhir/Patient/rA']);
  });

  it('gather while all requests are under way, and fill Bundles to their size', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { fhir, sent } = await bundling(
      async (request, response) => {
        if (request.method === 'PUT') await held;
        server()(request, response);
      },
      { batchSize: 3 },
    );
    const first = put(fhir, 'A');
    await expect.poll(() => sent()).toEqual(['A']);
    const others = ['B', 'C', 'D', 'E'].map((value) => put(fhir, value));
    await new Promise((resolve) => setImmediate(resolve));
    expect(sent()).toEqual(['A']);
    release();
    await Promise.all([first, ...others]);
    expect(sent()).toEqual(['A', '[B C D]', 'E']);
  });

  it('are never two of one patient in one Bundle', async () => {
    const { fhir, sent } = await bundling(server());
    await putAll(fhir, 'A', 'B', 'A');
    expect(sent()).toEqual(['[A B]', 'A']);
  });

  it('have the trace of the first, as one request can have one alone', async () => {
    const { fhir, server: peer } = await bundling(server());
    const sending = (span: string) => ({
      mayBeSent: () => undefined,
      uncertain: false,
      traceparent: `00-0af7651916cd43dd8448eb211c80319c-${span}-01`,
    });
    await Promise.all(['aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb'].map((span) => put(fhir, span, sending(span))));
    expect(peer.received.map(({ headers }) => headers.traceparent)).toEqual([sending('aaaaaaaaaaaaaaaa').traceparent]);
  });

  it('go alone where what becomes of them is uncertain', async () => {
    const { fhir, sent } = await bundling(server());
    await Promise.all([
      put(fhir, 'A'),
      put(fhir, 'B', { mayBeSent: () => undefined, uncertain: true }),
      put(fhir, 'C'),
    ]);
    expect(sent().toSorted()).toEqual(['B', '[A C]']);
  });

  it('leave the Bundle when they may not be sent any more, and the others go', async () => {
    const { fhir, sent } = await bundling(server());
    const lost = new Error('The slot is lost.');
    const gone = {
      uncertain: false,
      mayBeSent() {
        throw lost;
      },
    };
    const answers = Promise.allSettled([put(fhir, 'A'), put(fhir, 'B', gone), put(fhir, 'C')]);
    expect((await answers).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    await expect(put(fhir, 'B', gone)).rejects.toBe(lost);
    expect(sent()).toEqual(['[A C]']);
  });

  it('leave it as well when they may not be sent any more once the token is there', async () => {
    let waited = 0;
    const header = async () => {
      waited += 1;
      return { ok: true, header: 'Bearer late' } as const;
    };
    const { fhir, sent } = await bundling(server(), { credentials: { ...fixedCredentials(null), header } });
    const lost = new Error('The slot is lost.');
    const gone = {
      uncertain: false,
      mayBeSent() {
        if (waited > 0) throw lost;
      },
    };
    const answers = await Promise.allSettled([put(fhir, 'A'), put(fhir, 'B', gone), put(fhir, 'C')]);
    expect(answers[1]).toEqual({ status: 'rejected', reason: lost });
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(sent()).toEqual(['[A C]']);
  });

  it('are read where they are new and the server sends no resource back, to know whose each is', async () => {
    const { fhir, sent } = await bundling((request, response) => {
      if (request.method !== 'POST') return server()(request, response);
      const entry = ['A', 'B'].map((value) => ({
        response: { status: '201', location: `Patient/r${value}/_history/1` },
      }));
      reply(response, 200, { resourceType: 'Bundle', type: 'transaction-response', entry });
    });
    const byIdentifier = (value: string) => fhir.putByIdentifier(patient(value), token(value), '');
    expect(codes(await Promise.all([byIdentifier('A'), byIdentifier('B')]))).toEqual(['ok', 'ok']);
    // Turned round: each has the other's resource.
    expect(codes(await Promise.all([byIdentifier('B'), byIdentifier('A')]))).toEqual([
      'bundle-unreadable',
      'bundle-unreadable',
    ]);
    expect(sent()).toEqual(['[A B]', 'GET rA', 'GET rB', '[B A]', 'GET rA', 'GET rB']);
  });
});

describe('a Bundle that is refused', () => {
  const validation = (bad: string): [number, unknown] => [422, outcomeWith(`no ${bad}`, 'invalid')];

  it('is halved until the offender stands alone, and that has the fault of a plain PUT', async () => {
    const { fhir, sent } = await bundling(server((values) => (values.includes('F') ? validation('F') : undefined)));
    const answers = await putAll(fhir, 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H');
    expect(codes(answers)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok', 'validation', 'ok', 'ok']);
    expect(sent()).toEqual(['[A B C D E F G H]', '[A B C D]', '[E F G H]', '[E F]', 'E', 'F', '[G H]']);
    expect(answers[5]).toMatchObject({ fault: { disposition: 'dead-letter', attempt: 'counts', status: 422 } });
  });

  it('for a stale version ends with the conflict of that one', async () => {
    const { fhir } = await bundling(
      server((values) => (values.includes('B') ? [409, outcomeWith('HAPI-0989: x')] : undefined)),
    );
    const answers = await putAll(fhir, 'A', 'B', 'C');
    expect(codes(answers)).toEqual(['ok', 'stale-version', 'ok']);
    expect(answers[1]).toMatchObject({ fault: { disposition: 'conflict' } });
  });

  it('is sent again with those by id before the new ones: a server that lost its data may give such an id away', async () => {
    const { fhir, sent } = await bundling(server((_, bundle) => (bundle ? [404] : undefined)));
    const puts = ['A', 'B'].map((value) => fhir.putByIdentifier(patient(value), token(value), `Patient/${value}/1`));
    await Promise.all([...puts, put(fhir, 'C'), put(fhir, 'D')]);
    expect(sent().filter((values) => !values.startsWith('['))).toEqual(['C', 'D', 'A', 'B']);
  });

  it('by several offenders blames each of them, and nobody else, however many there are', async () => {
    const bad = new Set(['1', '4', '5', '11']);
    const { fhir, smaller } = await bundling(
      server((values) => (values.some((one) => bad.has(one)) ? validation('') : undefined)),
      {
        batchSize: 16,
      },
    );
    const values = Array.from({ length: 16 }, (_, at) => String(at));
    const answers = await putAll(fhir, ...values);
    expect(codes(answers)).toEqual(values.map((value) => (bad.has(value) ? 'validation' : 'ok')));
    expect(smaller).toEqual([]);
  });

  it.each([404, 405, 501, 403, 400])('by a server that takes none (%i) is given up, and told once', async (status) => {
    const { fhir, sent, smaller } = await bundling(server((_, bundle) => (bundle ? [status, '<html>'] : undefined)));
    expect(codes(await putAll(fhir, 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H'))).toEqual(Array(8).fill('ok'));
    await expect.poll(() => smaller).toEqual([1]);
    const before = sent().length;
    await putAll(fhir, 'A', 'B', 'C');
    expect(sent().slice(before)).toEqual(['A', 'B', 'C']);
  });

  it('for its size is smaller from then on', async () => {
    const { fhir, sent, smaller } = await bundling(
      server((values) => (values.length > 2 ? [413] : undefined)),
      { batchSize: 4 },
    );
    for (let n = 0; n < 3; n += 1) await putAll(fhir, 'A', 'B', 'C', 'D');
    await expect.poll(() => smaller).toEqual([2]);
    const before = sent().length;
    await putAll(fhir, 'A', 'B', 'C', 'D');
    expect(sent().slice(before)).toEqual(['[A B]', '[C D]']);
  });
});

describe('a Bundle that fails', () => {
  it.each<[number, string, boolean]>([
    [503, 'http-503', true],
    [502, 'http-502', true],
    [504, 'http-504', true],
    [500, 'http-500', false],
    [429, 'http-429', false],
    [408, 'http-408', false],
    [401, 'unauthorized', false],
  ])('with %i is halved for nobody: each is told, and it counts for none', async (status, code, stopsSends) => {
    const { fhir, sent } = await bundling((_, response) =>
      reply(response, status, outcomeWith('x'), { 'retry-after': '7' }),
    );
    const answers = await putAll(fhir, 'A', 'B', 'C');
    for (const answer of answers)
      expect(answer).toMatchObject({
        ok: false,
        fault: { code, stopsSends, attempt: 'never', status, retryAfterMs: 7000 },
      });
    expect(sent()).toEqual(['[A B C]']);
  });

  it.each<[string, Handler, string]>([
    ['breaks', ({ socket }) => socket.destroy(), 'network'],
    ['takes too long', () => undefined, 'timeout'],
    [
      'breaks in the middle of the answer',
      ({ socket }, response) => {
        response.writeHead(200, { 'content-length': '100' });
        response.write('{', () => socket.destroy());
      },
      'network',
    ],
  ])('because the connection %s: of each it is unknown what became of it', async (_, handler, code) => {
    const { fhir } = await bundling(handler, { timeoutMs: 300 });
    for (const answer of await putAll(fhir, 'A', 'B'))
      expect(answer).toMatchObject({ ok: false, fault: { code, attempt: 'never', status: null, stopsSends: true } });
  });

  const bundle = (entry: unknown[], type = 'transaction-response') => ({ resourceType: 'Bundle', type, entry });
  const entry = (location: string) => ({ response: { status: '200', location } });

  it.each<[string, number, unknown]>([
    ['no FHIR', 200, '<html>'],
    ['nothing', 204, undefined],
    ['an acceptance for later', 202, ''],
    [
      'the answer to a batch',
      200,
      bundle([entry('Patient/rA/_history/4'), entry('Patient/rB/_history/4')], 'batch-response'),
    ],
    ['one entry less', 200, bundle([entry('Patient/rA/_history/4')])],
    ['the entries turned round', 200, bundle([entry('Patient/rB/_history/4'), entry('Patient/rA/_history/4')])],
    ['an answer that is too large', 200, 'x'.repeat(1_200_000)],
  ])('to say what was done (%s): of each it is unknown, never done', async (_, status, body) => {
    const { fhir, smaller } = await bundling((_, response) => reply(response, status, body));
    for (let n = 0; n < 3; n += 1) {
      for (const answer of await putAll(fhir, 'A', 'B'))
        expect(answer).toMatchObject({
          ok: false,
          fault: { code: 'bundle-unreadable', disposition: 'retry', attempt: 'never', status: null },
        });
    }
    // A server that answers so every time is asked so no more.
    await expect.poll(() => smaller).toEqual([1]);
  });
});

describe('requests at once', () => {
  it('are no more than FHIR_CONCURRENCY, reads and deletes too', async () => {
    let running = 0;
    let most = 0;
    const { fhir } = await bundling(
      (request, response) => {
        running += 1;
        most = Math.max(most, running);
        setTimeout(() => {
          running -= 1;
          if (request.method === 'DELETE') reply(response, 204);
          else server()(request, response);
        }, 20);
      },
      { concurrency: 2, batchSize: 2 },
    );
    await Promise.all([
      putAll(fhir, 'A', 'B', 'C', 'D', 'E'),
      ...['A', 'B', 'C'].map((value) => fhir.read('Patient', `r${value}`)),
      ...['F', 'G'].map((value) => fhir.deleteById('Patient', `r${value}`, '')),
    ]);
    expect(most).toBe(2);
  });
});
