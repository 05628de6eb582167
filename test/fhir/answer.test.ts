// What an answer says: whether it is FHIR, and which resource and version it names, by header and by body.
import { describe, expect, it } from 'vitest';
import { isFhirAnswer, jsonOf, matchOf, resourceOf, versionOf, writtenTo } from '../../src/fhir/client/answer.ts';
import { readOutcome } from '../../src/fhir/faults/operation-outcome.ts';
import type { HttpAnswer } from '../../src/fhir/http/dispatch.ts';
import { answerOf, outcomeWith } from './answers.ts';

const BASE = 'https://fhir.example.com/fhir';
const patient = (id: string, versionId?: string) => ({ resourceType: 'Patient', id, meta: { versionId } });
const broken: HttpAnswer = { status: 200, headers: {}, body: { missing: 'network' } };

describe('a location', () => {
  it.each([
    ['Content-Location', { 'content-location': `${BASE}/Patient/7/_history/3` }],
    ['Location', { location: `${BASE}/Patient/7/_history/3` }],
    ['a relative one', { location: 'Patient/7/_history/3' }],
    ['one from the root', { location: '/fhir/Patient/7/_history/3' }],
    ['one with a query or a fragment', { location: `${BASE}/Patient/7/_history/3?_format=json#x` }],
    [
      'Content-Location before Location',
      { 'content-location': 'Patient/7/_history/3', location: 'Patient/8/_history/1' },
    ],
    ['Location where Content-Location is of no use', { 'content-location': BASE, location: 'Patient/7/_history/3' }],
  ])('says where a write went: %s', (_, headers) => {
    expect(writtenTo(answerOf(undefined, headers), 'Patient')).toEqual({ id: '7', versionId: '3' });
  });

  it.each([
    ['another type', 'Observation/7/_history/3'],
    ['a type that only ends so', 'OtherPatient/7'],
    ['the query of a conditional write', 'Patient?identifier=7'],
    ['nothing below the type', 'Patient/'],
    ['an operation', 'Patient/7/$validate'],
    ['an id that is none', 'Patient/a_b'],
    ['the folder itself as its id', 'Patient/.'],
    ['the folder above as its id', 'Patient/../_history/1'],
    ['the folder above as its version', 'Patient/7/_history/..'],
    ['an id that is too long', `Patient/${'a'.repeat(65)}`],
    ['no text', ''],
  ])('says nothing where it names %s', (_, location) => {
    expect(writtenTo(answerOf(undefined, { location }), 'Patient')).toBeNull();
  });

  it('may have any FHIR id', () => {
    const id = `${'A-z.9'.repeat(12)}1234`;
    expect(writtenTo(answerOf(undefined, { location: `Patient/${id}` }), 'Patient')?.id).toBe(id);
  });
});

describe('JSON that is nested', () => {
  const nested = (levels: number) => answerOf(`${'{"a":'.repeat(levels - 1)}{"b":"]}\\""}${'}'.repeat(levels - 1)}`);

  it('a thousand times is read', () => {
    expect(jsonOf(nested(1000))).not.toBeNull();
  });

  it('more deeply is none: who walks through it would run out of stack', () => {
    expect(jsonOf(nested(1001))).toBeNull();
    expect(isFhirAnswer(nested(1001))).toBe(false);
  });
});

describe('the version of a write', () => {
  it.each([
    ['in the location', { location: 'Patient/7/_history/3', etag: 'W/"4"' }, patient('7', '5'), '3'],
    // Proxies change ETags: https://httpd.apache.org/docs/2.4/mod/mod_deflate.html#deflatealteretag
    [
      'in the location, whatever a proxy made of the ETag',
      { location: 'Patient/7/_history/3', etag: 'W/"3-gzip"' },
      '',
      '3',
    ],
    ['in the body', { location: 'Patient/7', etag: 'W/"3-gzip"' }, patient('7', '3'), '3'],
    ['in the body alone', {}, patient('7', '3'), '3'],
    ['in a weak ETag', { location: 'Patient/7', etag: 'W/"3"' }, '', '3'],
    ['in a strong ETag', { location: 'Patient/7', etag: ' "3" ' }, '', '3'],
    ['in the ETag alone', { etag: 'W/"a.B-3"' }, '', 'a.B-3'],
    ['nowhere', { location: 'Patient/7' }, '', null],
    ['nowhere: an ETag without quotes', { etag: '3' }, '', null],
    ['nowhere: an ETag that no version can be', { etag: 'W/"a b"' }, '', null],
    ['nowhere: an ETag with more behind it', { etag: 'W/"3", W/"4"' }, '', null],
    ['nowhere: an OperationOutcome', {}, outcomeWith(''), null],
  ])('is read %s', (_, headers, body, version) => {
    const answer = answerOf(body, headers);
    expect(versionOf(answer, writtenTo(answer, 'Patient'))).toBe(version);
  });

  it('is not taken from the body of another resource than the location names', () => {
    const answer = answerOf(patient('8', '5'), { location: 'Patient/7', etag: 'W/"3"' });
    expect(writtenTo(answer, 'Patient')).toEqual({ id: '7', versionId: '3' });
  });
});

describe('a resource', () => {
  it('names itself and its version', () => {
    expect(matchOf(patient('7', '3'))).toEqual({ id: '7', versionId: '3' });
    expect(matchOf({ resourceType: 'Patient', id: '7' })).toEqual({ id: '7', versionId: null });
    expect(matchOf({ resourceType: 'Patient', id: '7' }, answerOf('', { etag: 'W/"3"' }))).toEqual({
      id: '7',
      versionId: '3',
    });
  });

  it.each([undefined, 7, '', 'a/b', '../metadata', 'a'.repeat(65), '7\n'])('has no id that is %j', (id) => {
    expect(matchOf({ resourceType: 'Patient', id })).toBeNull();
  });

  it.each([7, '', 'a"b', 'a\r\nx: y', null])('has no version that is %j: it goes into a header', (versionId) => {
    expect(matchOf({ resourceType: 'Patient', id: '7', meta: { versionId } })?.versionId).toBeNull();
  });

  it.each([null, 'meta', []])('may have %j for its meta', (meta) => {
    expect(matchOf({ resourceType: 'Patient', id: '7', meta })).toEqual({ id: '7', versionId: null });
  });

  it('is read from the body, if it is of the type', () => {
    expect(resourceOf(answerOf(patient('7')), 'Patient')).toEqual({ resourceType: 'Patient', id: '7', meta: {} });
    expect(resourceOf(answerOf(patient('7')), 'Bundle')).toBeNull();
    expect(resourceOf(answerOf('<html>'), 'Patient')).toBeNull();
    expect(resourceOf(broken, 'Patient')).toBeNull();
  });
});

describe('a body', () => {
  it.each(['', ' \r\n', '{"resourceType":"Patient"}', '{"resourceType":"OperationOutcome"}'])(
    'is a FHIR server’s: %j',
    (text) => {
      expect(isFhirAnswer(answerOf(text))).toBe(true);
    },
  );

  it.each([
    '<html></html>',
    '{}',
    '{"error":"unauthorized"}',
    '{"resourceType":7}',
    '[]',
    'null',
    '"Patient"',
    '{"resourceType":',
  ])('is something else’s: %j', (text) => {
    expect(isFhirAnswer(answerOf(text))).toBe(false);
  });

  it('that broke off is none', () => {
    expect(isFhirAnswer(broken)).toBe(false);
    expect(jsonOf(broken)).toBeNull();
    expect(readOutcome(jsonOf(broken))).toBeNull();
    expect(writtenTo(broken, 'Patient')).toBeNull();
  });

  it('may be an OperationOutcome', () => {
    expect(readOutcome(jsonOf(answerOf(outcomeWith('x'))))?.issue).toHaveLength(1);
    expect(readOutcome(jsonOf(answerOf(patient('7'))))).toBeNull();
    expect(readOutcome(jsonOf(answerOf('<html>')))).toBeNull();
  });
});
