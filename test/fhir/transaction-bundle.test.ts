// The transaction Bundle: the same bytes for the same PUTs, and an answer that is believed only where it leaves no doubt.
import { describe, expect, it } from 'vitest';
import { putOfId, putOfIdentifier } from '../../src/fhir/client/put.ts';
import { entriesWritten, requestIdOf, transactionOf } from '../../src/fhir/client/transaction-bundle.ts';
import type { Json } from '../../src/fhir/model/json.ts';
import type { Patient } from '../../src/fhir/model/resource-types.ts';

const patient = (value: string, more: Partial<Patient> = {}): Patient => ({
  resourceType: 'Patient',
  identifier: [{ system: 'urn:mrn', value }],
  ...more,
});

const BASE = 'https://fhir.example.com/fhir';
const LINKED = putOfId(patient('A'), '7', '3', 'Patient/1/3');
const FIRST = putOfIdentifier(patient('B|1'), { system: 'urn:mrn', value: 'B|1' }, 'Patient/2/1');
const PUTS = [LINKED, FIRST];

const linked = { response: { status: '200 OK', location: 'Patient/7/_history/4', etag: '4' } };
const first = {
  resource: { ...patient('B|1'), id: '8', meta: { versionId: '1' } },
  response: { status: '201', location: 'http://other.example.com/fhir/Patient/8/_history/1' },
};
const response = (entry: unknown, more: Json = {}): Json => {
  return { resourceType: 'Bundle', type: 'transaction-response', entry, ...more };
};

describe('transactionOf', () => {
  it('has each PUT as it would go alone', () => {
    expect(JSON.parse(transactionOf(PUTS, BASE))).toEqual({
      resourceType: 'Bundle',
      type: 'transaction',
      entry: [
        {
          fullUrl: 'https://fhir.example.com/fhir/Patient/7',
          resource: { ...patient('A'), id: '7' },
          request: { method: 'PUT', url: 'Patient/7', ifMatch: 'W/"3"' },
        },
        {
          fullUrl: expect.stringMatching(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/),
          resource: patient('B|1'),
          request: { method: 'PUT', url: 'Patient?identifier=urn%3Amrn%7CB%5C%7C1' },
        },
      ],
    });
  });

  it('is the same bytes for the same PUTs, with the same request id; another body has another one', () => {
    const again = [putOfId(patient('A'), '7', '3', 'Patient/1/3'), FIRST];
    expect(transactionOf(again, BASE)).toBe(transactionOf(PUTS, BASE));
    expect(requestIdOf(again)).toBe(requestIdOf(PUTS));
    expect(requestIdOf(PUTS)).toMatch(/^[0-9a-f]{16}$/);
    const other = [putOfId(patient('A'), '7', '3', 'Patient/1/4'), FIRST];
    expect(requestIdOf(other)).not.toBe(requestIdOf(PUTS));
  });

  it('has full URLs that differ', () => {
    const by = (value: string) => putOfIdentifier(patient(value), { system: 'urn:mrn', value }, 'Patient/2/1');
    const puts = [by('A'), by('B'), putOfId(patient('C'), '7', '3', ''), putOfId(patient('C'), '8', '3', '')];
    const { entry } = JSON.parse(transactionOf(puts, BASE)) as { entry: { fullUrl: string }[] };
    expect(new Set(entry.map(({ fullUrl }) => fullUrl)).size).toBe(4);
  });
});

describe('entriesWritten', () => {
  it('gives id, version and status of each, in the order of the PUTs', () => {
    expect(entriesWritten(response([linked, first]), PUTS)).toEqual([
      { id: '7', versionId: '4', status: 200, proven: true },
      { id: '8', versionId: '1', status: 201, proven: true },
    ]);
  });

  it.each<[string, unknown]>([
    ['the location', { status: '200', location: 'Patient/7/_history/4' }],
    ['HAPI’s etag, the bare version', { status: '200', location: 'Patient/7', etag: '4' }],
    ['an etag as it should be', { status: '200', location: 'Patient/7', etag: 'W/"4"' }],
  ])('reads the version from %s', (_, answered) => {
    expect(entriesWritten(response([{ response: answered }]), [LINKED])).toMatchObject([{ versionId: '4' }]);
  });

  it('reads where it went from the resource alone', () => {
    const resource = { ...patient('A'), id: '7', meta: { versionId: '4' } };
    const entry = { resource, response: { status: '200' } };
    expect(entriesWritten(response([entry]), [LINKED])).toMatchObject([{ id: '7', versionId: '4' }]);
  });

  it('has no version where the server names none', () => {
    const entry = { response: { status: '200', location: 'Patient/7', etag: 'W/""' } };
    expect(entriesWritten(response([entry]), [LINKED])).toMatchObject([{ id: '7', versionId: null }]);
  });

  it('leaves open whose a new resource is where none comes back', () => {
    const bare = { response: first.response };
    expect(entriesWritten(response([linked, bare]), PUTS)).toMatchObject([{ proven: true }, { proven: false }]);
  });

  const without = (part: 'status' | 'location') => ({ response: { ...linked.response, [part]: undefined } });
  const at = (location: string) => ({ response: { ...linked.response, location } });

  const doubtful: [string, Json | null][] = [
    ['no Bundle', null],
    ['another resource', { resourceType: 'OperationOutcome' }],
    ['the answer to a batch', response([linked, first], { type: 'batch-response' })],
    ['no entries', response(undefined)],
    ['one entry less', response([linked])],
    ['one entry more', response([linked, first, first])],
    ['an entry that is none', response([linked, null])],
    ['an entry without a response', response([{ resource: first.resource }, first])],
    [
      'an entry whose status is no text',
      response([{ response: { ...linked.response, status: { toString: 1 } } }, first]),
    ],
    ['an entry without a status', response([without('status'), first])],
    ['an entry that failed', response([{ response: { ...linked.response, status: '412' } }, first])],
    ['an entry that says not where', response([without('location'), first])],
    ['another id than the one that was asked for', response([at('Patient/9/_history/4'), first])],
    ['another type', response([at('Person/7/_history/4'), first])],
    ['the entries in another order', response([first, linked])],
    ['a location and a resource that differ', response([{ ...linked, resource: { ...patient('A'), id: '9' } }, first])],
    [
      'another identifier than the one that was asked for',
      response([linked, { ...first, resource: { ...first.resource, identifier: patient('C').identifier } }]),
    ],
    [
      'two patients in one resource, as HAPI has it',
      response([linked, { ...first, resource: { ...first.resource, id: '7' }, response: linked.response }]),
    ],
  ];

  it.each(doubtful)('says nothing of any, where it finds %s', (_, body) => {
    expect(entriesWritten(body, PUTS)).toBeNull();
  });
});
