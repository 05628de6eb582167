// The fault table: each of its rows is met by an answer, and each answer to each operation has the row that it should.
import { describe, expect, it } from 'vitest';
import { faultOf, faultOfAnswer } from '../../src/fhir/faults/fault.ts';
import { type Cause, FAULT_TABLE, type Operation } from '../../src/fhir/faults/fault-table.ts';
import { readOutcome } from '../../src/fhir/faults/operation-outcome.ts';
import { outcomeWith } from './answers.ts';

function refused(operation: Operation, status: number, diagnostics?: string) {
  const outcome = diagnostics === undefined ? null : readOutcome(outcomeWith(diagnostics));
  return faultOfAnswer(operation, { status, retryAfter: undefined, outcome });
}

/** An example for each row, in the order of the table. */
const EXAMPLES: readonly (Cause | readonly [operation: Operation, status: number, diagnostics?: string])[] = [
  'timeout',
  'tls',
  'unreachable',
  'network',
  'token',
  'token-refused',
  'no-token-endpoint',
  'not-fhir',
  'not-r4',
  'search-ignored',
  ['put-by-id', 401],
  'insufficient-scope',
  ['put-by-id', 431],
  ['put-by-id', 408],
  ['put-by-id', 429],
  ['transaction', 404],
  'bundle-unreadable',
  ['put-by-id', 307],
  ['conditional-put', 403],
  ['metadata', 404],
  ['conditional-put', 405],
  ['put-by-id', 415],
  ['put-by-id', 410],
  ['put-by-id', 405],
  ['put-by-id', 400, 'HAPI-0960: Can not create resource with ID[7]'],
  ['put-by-id', 409],
  ['conditional-put', 412],
  'several-found',
  'not-several',
  'another-resource',
  ['conditional-put', 409],
  ['conditional-put', 500, 'HAPI-0550: HAPI-0824: The operation has failed with a unique index constraint failure'],
  ['delete-by-id', 409],
  ['delete-by-id', 405],
  ['put-by-id', 503],
  ['put-by-id', 502],
  ['put-by-id', 500],
  ['put-by-id', 422],
  'answer-too-large',
  ['put-by-id', 418],
];

describe('the fault table', () => {
  it('has an example here for each row', () => {
    expect(EXAMPLES).toHaveLength(FAULT_TABLE.length);
  });

  it.each(FAULT_TABLE.map((row, at) => ({ ...row, example: EXAMPLES[at] ?? 'timeout' })))(
    'says what to do: $when',
    ({ example, code, match, on, disposition, attempt, stopsSends, sentence }) => {
      const byCause = typeof example === 'string';
      const fault = byCause ? faultOf(example) : refused(...example);
      expect(fault).toMatchObject({ disposition, attempt, stopsSends });
      expect(fault.code).toBe(code.replace('*', String(fault.status)));
      expect(fault.reason.startsWith(sentence)).toBe(true);
      // The example is one of this row, not of another with the same words.
      if (byCause || typeof match === 'string') expect(example).toBe(match);
      else {
        const [operation, status, diagnostics = ''] = example;
        expect(on === 'any' || on.includes(operation)).toBe(true);
        expect(
          match.status.some((pattern) => new RegExp(`^${pattern.replaceAll('x', '\\d')}$`).test(`${status}`)),
        ).toBe(true);
        expect(match.hapi?.some((known) => diagnostics.includes(known)) ?? true).toBe(true);
      }
    },
  );

  it('tells the operator sentences', () => {
    for (const { sentence, when } of FAULT_TABLE) {
      expect(sentence).toMatch(/^[A-Z].*[^.][.?]$/);
      expect(when).toMatch(/^[A-Z].*[^.]$/);
    }
  });
});

const OPERATIONS: readonly Operation[] = [
  'conditional-put',
  'put-by-id',
  'delete-by-id',
  'search',
  'read',
  'probe',
  'metadata',
];
const DEAD = 'validation dead-letter';
const same = (text: string): readonly string[] => OPERATIONS.map(() => text);

/** A column for each operation. */
// biome-ignore format: one line for each status
const MATRIX: readonly (readonly [answer: string, ...faults: string[]])[] = [
  ['302', ...same('redirect hold')],
  ['304', ...same('redirect hold')],
  ['400', ...same(DEAD).slice(1), 'no-capability-statement hold'],
  ['400 HAPI-0960', DEAD, 'gone gone', DEAD, DEAD, DEAD, DEAD, 'no-capability-statement hold'],
  ['401', ...same('unauthorized hold')],
  ['403', 'forbidden hold', 'http-403 dead-letter', 'http-403 dead-letter', 'forbidden hold', 'forbidden hold', 'forbidden hold', 'forbidden hold'],
  ['404', 'not-supported hold', 'gone gone', 'http-404 dead-letter', 'not-supported hold', 'gone gone', 'not-supported hold', 'no-capability-statement hold'],
  ['405', 'not-supported hold', 'gone gone', 'delete-not-allowed dead-letter', 'not-supported hold', 'http-405 dead-letter', 'not-supported hold', 'no-capability-statement hold'],
  ['406', ...same('media-type hold')],
  ['408', ...same('http-408 retry never')],
  ['409', 'create-race retry', 'stale-version conflict', 'referenced dead-letter', ...same('http-409 dead-letter').slice(3)],
  ['410', 'http-410 dead-letter', 'gone gone', 'http-410 dead-letter', 'http-410 dead-letter', 'gone gone', 'http-410 dead-letter', 'no-capability-statement hold'],
  ['412', 'several-matches dead-letter', 'stale-version conflict', ...same('http-412 dead-letter').slice(2)],
  ['413', ...same('http-413 dead-letter')],
  ['415', ...same('media-type hold')],
  ['422', ...same(DEAD)],
  ['429', ...same('http-429 retry never')],
  ['500', ...same('http-500 retry if-server-answers')],
  ['500 HAPI-0389', ...same('http-500 retry if-server-answers')],
  ['500 HAPI-0550', 'create-race retry', ...same('http-500 retry if-server-answers').slice(1)],
  ['500 HAPI-0823', 'create-race retry', ...same('http-500 retry if-server-answers').slice(1)],
  ['500 HAPI-0824', 'create-race retry', ...same('http-500 retry if-server-answers').slice(1)],
  ['500 HAPI-0989', 'create-race retry', ...same('http-500 retry if-server-answers').slice(1)],
  ['501', 'not-supported hold', 'http-501 retry if-server-answers', 'delete-not-allowed dead-letter', 'not-supported hold', 'http-501 retry if-server-answers', 'not-supported hold', 'not-supported hold'],
  ['502', ...same('http-502 retry if-server-answers stops')],
  ['503', ...same('http-503 retry never stops')],
  ['504', ...same('http-504 retry if-server-answers stops')],
  ['599', ...same('http-599 retry if-server-answers')],
  // A success that is none of FHIR's for what was asked, and what is no status at all.
  ['202', ...same('not-fhir hold')],
  ['600', ...same('not-fhir hold')],
  ['50', ...same('not-fhir hold')],
];

/** As "http-503 retry never stops"; a hold never counts, and what is not said counts. */
function inShort(operation: Operation, answer: string): string {
  const [status = '', hapi] = answer.split(' ');
  const fault = refused(operation, Number(status), hapi && `${hapi}: words that differ from version to version`);
  if (fault.disposition === 'hold') expect(fault.attempt).toBe('never');
  const counting = fault.attempt === 'counts' || fault.disposition === 'hold' ? '' : ` ${fault.attempt}`;
  return `${fault.code} ${fault.disposition}${counting}${fault.stopsSends ? ' stops' : ''}`;
}

describe('an answer', () => {
  it.each(MATRIX)('with status %s means to each operation what the table says', (answer, ...faults) => {
    expect(Object.fromEntries(OPERATIONS.map((operation) => [operation, inShort(operation, answer)]))).toEqual(
      Object.fromEntries(OPERATIONS.map((operation, at) => [operation, faults[at]])),
    );
  });
});

describe('an answer to a transaction Bundle', () => {
  it.each([400, 402, 403, 404, 405, 406, 409, 410, 412, 413, 415, 422, 499, 301, 501])(
    '%i is a refusal: of one of its PUTs, perhaps, which its halves show',
    (status) => expect(inShort('transaction', String(status))).toBe('bundle-refused halve never'),
  );

  it.each([
    ['401', 'unauthorized hold'],
    ['408', 'http-408 retry never'],
    ['429', 'http-429 retry never'],
    ['500', 'http-500 retry if-server-answers'],
    ['502', 'http-502 retry if-server-answers stops'],
    ['503', 'http-503 retry never stops'],
    ['504', 'http-504 retry if-server-answers stops'],
  ])('%s is the server’s', (status, expected) => {
    expect(inShort('transaction', status)).toBe(expected);
  });
});

describe('a failure without an answer', () => {
  it.each<[Cause, string]>([
    ['timeout', 'timeout retry if-server-answers stops'],
    ['unreachable', 'unreachable retry if-server-answers stops'],
    ['network', 'network retry if-server-answers stops'],
    ['tls', 'tls retry never stops'],
    ['token', 'token retry never stops'],
    ['token-refused', 'token-refused retry never stops'],
    ['no-token-endpoint', 'no-token-endpoint retry never stops'],
    ['insufficient-scope', 'insufficient-scope hold never'],
    ['not-fhir', 'not-fhir hold never'],
    ['not-r4', 'not-r4 hold never'],
    ['search-ignored', 'search-ignored hold never'],
    ['several-found', 'several-matches dead-letter counts'],
    ['not-several', 'not-several retry counts'],
    ['bundle-unreadable', 'bundle-unreadable retry never'],
    ['answer-too-large', 'answer-too-large dead-letter counts'],
  ])('by the cause “%s” means what the table says', (cause, expected) => {
    const { code, disposition, attempt, stopsSends, status, retryAfterMs, outcome } = faultOf(cause);
    expect(`${code} ${disposition} ${attempt}${stopsSends ? ' stops' : ''}`).toBe(expected);
    expect({ status, retryAfterMs, outcome }).toEqual({ status: null, retryAfterMs: null, outcome: null });
  });

  it('that is not in the table is a fault of this program', () => {
    expect(() => faultOf('sunspots' as Cause)).toThrow(new TypeError('The fault table has no row for sunspots.'));
  });
});
