// OperationOutcomes: kept whole and storable for the dead letter, told to logs by codes alone.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hapiCodes, issueText, readOutcome, shortReason, toldIssues } from '../../src/fhir/faults/operation-outcome.ts';
import { outcomeWith } from './answers.ts';

const SECRET = 'MRN-001234';
const ofIssues = (...issue: unknown[]) => readOutcome({ resourceType: 'OperationOutcome', issue });

describe('readOutcome', () => {
  it('keeps the elements of the specification and no others', () => {
    const kept = {
      severity: 'error',
      code: 'invalid',
      details: { coding: [{ system: 'urn:x', code: 'y', display: 'z' }], text: 'text' },
      diagnostics: 'HAPI-0450: Failed to parse',
      location: ['Patient.name'],
      expression: ['Patient.name[0]'],
    };
    const outcome = readOutcome({
      resourceType: 'OperationOutcome',
      id: '1',
      text: { div: '<div>much HTML</div>' },
      issue: [{ ...kept, extension: [{}] }],
    });
    expect(outcome).toEqual({ resourceType: 'OperationOutcome', issue: [kept] });
  });

  it('leaves out an element of the wrong type, and keeps the others', () => {
    const outcome = ofIssues({
      severity: 7,
      code: null,
      diagnostics: 'kept',
      details: 'no',
      location: [7],
      expression: 'x',
    });
    expect(JSON.parse(JSON.stringify(outcome?.issue))).toEqual([{ diagnostics: 'kept' }]);
  });

  it('makes its texts such that PostgreSQL can store them', () => {
    const outcome = ofIssues({
      severity: 'err\u0000or',
      code: '\ud800',
      diagnostics: 'a\u0000b\udc00',
      details: { text: '\u0001', coding: [{ code: '\u0002', display: 'ok' }] },
      expression: ['\u0003'],
      location: ['\u0004'],
    });
    expect(outcome?.issue).toEqual([
      {
        severity: 'err\ufffdor',
        code: '\ufffd',
        diagnostics: 'a\ufffdb\ufffd',
        details: { text: '\ufffd', coding: [{ code: '\ufffd', display: 'ok' }] },
        expression: ['\ufffd'],
        location: ['\ufffd'],
      },
    ]);
  });

  it.each([
    null,
    undefined,
    'text',
    [],
    {},
    { resourceType: 'Patient', issue: [] },
    { resourceType: 'OperationOutcome' },
  ])('finds none in %j', (body) => {
    expect(readOutcome(body)).toBeNull();
  });
});

describe('hapiCodes', () => {
  it('finds the known codes in diagnostics and details, in their order, each once', () => {
    const outcome = ofIssues(
      { diagnostics: 'HAPI-0550: HAPI-0824: The operation has failed' },
      { details: { text: 'HAPI-0989: x' } },
      { diagnostics: 'again HAPI-0824: x' },
    );
    expect(hapiCodes(outcome)).toEqual(['HAPI-0550', 'HAPI-0824', 'HAPI-0989']);
  });

  it.each([
    'HAPI-9999: no known code',
    'HAPI-0550 without a colon',
    'HAPI-05501: too long',
    'XHAPI-0550: part of a word',
    'hapi-0550: in small letters',
    `identifier=${SECRET}`,
  ])('finds none in %j', (diagnostics) => {
    expect(hapiCodes(readOutcome(outcomeWith(diagnostics)))).toEqual([]);
  });

  it('finds none where there is no outcome', () => {
    expect(hapiCodes(null)).toEqual([]);
  });
});

it('of an outcome with very many issues a thousand are kept', () => {
  const read = readOutcome({ resourceType: 'OperationOutcome', issue: Array(5000).fill({ code: 'invalid' }) });
  expect(read?.issue).toHaveLength(1000);
});

describe('shortReason', () => {
  it('repeats no path that is longer than any of R4', () => {
    const outcome = ofIssues({ severity: 'error', code: 'invalid', expression: [`Patient${'.name'.repeat(100)}`] });
    expect(shortReason(outcome)).toBe('error invalid');
  });

  it('tells severity, type, code of HAPI and element of each error, each once', () => {
    const outcome = ofIssues(
      { severity: 'error', code: 'invalid', diagnostics: 'HAPI-0450: x' },
      { severity: 'error', code: 'invalid', diagnostics: 'HAPI-0450: y' },
      { severity: 'error', code: 'required', expression: ['Patient.name[0].family'] },
      { severity: 'warning', code: 'not-found' },
      { severity: 'fatal' },
    );
    expect(shortReason(outcome)).toBe('error invalid HAPI-0450; error required at Patient.name[0].family; fatal');
  });

  it('tells warnings where there is nothing worse', () => {
    expect(shortReason(ofIssues({ severity: 'warning', code: 'not-found' }, { code: 'timeout' }))).toBe(
      'warning not-found; timeout',
    );
  });

  // As HAPI 8.8 answers to a date that is none: its parser in words, its validator with a path.
  it.each([
    [
      {
        severity: 'error',
        code: 'processing',
        diagnostics:
          'HAPI-0450: Failed to parse request body as JSON resource. Error was: HAPI-1821: [element="birthDate"] Invalid attribute value "1990-13-45": Invalid date/time format: "1990-13-45"',
      },
      'error processing HAPI-0450 HAPI-1821 at birthDate',
    ],
    [
      {
        severity: 'error',
        code: 'processing',
        details: { coding: [{ system: 'http://hl7.org/fhir/java-core-messageId', code: 'Type_Specific_Checks' }] },
        diagnostics: "Not a valid date format: '1990-13-45'",
        location: ['Patient.birthDate', 'Line[1] Col[98]'],
        expression: ['Patient.birthDate'],
      },
      'error processing at Patient.birthDate',
    ],
  ])('says which element HAPI objects to', (issue, reason) => {
    const dom6 = { severity: 'warning', code: 'processing', expression: ['Patient'] };
    expect(shortReason(ofIssues(issue, dom6))).toBe(reason);
  });

  it('tells of five at most', () => {
    const types = ['invalid', 'structure', 'required', 'value', 'invariant', 'security', 'login'];
    const outcome = ofIssues(...types.map((code) => ({ severity: 'error', code })));
    expect(shortReason(outcome)).toBe('error invalid; error structure; error required; error value; error invariant');
  });

  it.each([null, ofIssues(), ofIssues({}), ofIssues({ severity: SECRET, code: SECRET, diagnostics: SECRET })])(
    'has nothing to tell of %j',
    (outcome) => {
      expect(shortReason(outcome)).toBe('');
    },
  );

  it('has only words of the specification, whatever a server puts into an outcome', () => {
    const known = [
      'error',
      'fatal',
      'invalid',
      'HAPI-0550: ',
      '[element="gender"]',
      'Patient',
      'Patient.name[0].given[1]',
    ];
    const word = fc.oneof(fc.constantFrom(...known, SECRET), fc.string());
    const issue = fc.record(
      {
        severity: word,
        code: word,
        diagnostics: fc.array(word).map((words) => words.join('')),
        details: fc.record({ text: word, coding: fc.array(fc.record({ code: word, display: word })) }),
        expression: fc.array(word),
        location: fc.array(word),
      },
      { requiredKeys: [] },
    );
    const told = /^(error|fatal|invalid|HAPI-0550|at|gender|Patient|Patient\.name\[0\]\.given\[1\])$/;
    fc.assert(
      fc.property(fc.array(issue), (issues) => {
        for (const part of shortReason(ofIssues(...issues))
          .split(/[;,]? /)
          .filter(Boolean))
          expect(part).toMatch(told);
      }),
    );
  });
});

describe('toldIssues', () => {
  it('keeps codes and element paths, and nothing that the server may have put a value into', () => {
    const outcome = ofIssues({
      severity: 'error',
      code: 'required',
      diagnostics: `HAPI-0450: ${SECRET}`,
      details: { text: SECRET, coding: [{ code: SECRET, display: SECRET }] },
      location: ['Patient.name[0]', '/f:Patient', SECRET],
      expression: ['Patient.name[0]', 'Patient.birthDate', `Patient.identifier.where(value='${SECRET}')`],
    });
    expect(toldIssues(outcome).map(issueText)).toEqual([
      'error required HAPI-0450 at Patient.name[0], Patient.birthDate',
    ]);
    expect(toldIssues(outcome)).toEqual([
      {
        severity: 'error',
        code: 'required',
        hapi: ['HAPI-0450'],
        elements: ['Patient.name[0]', 'Patient.birthDate'],
      },
    ]);
  });

  it('leaves out a severity and a code that are none of the specification', () => {
    expect(toldIssues(ofIssues({ severity: SECRET, code: SECRET }))).toEqual([
      { severity: '', code: '', hapi: [], elements: [] },
    ]);
    expect(toldIssues(null)).toEqual([]);
  });
});
