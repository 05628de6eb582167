// Answers that repeat all of a request, in every place that a FHIR server has for words.

import { faultOfAnswer } from '../../src/fhir/faults/fault.ts';
import type { Cause, FaultRow, Operation } from '../../src/fhir/faults/fault-table.ts';
import { readOutcome } from '../../src/fhir/faults/operation-outcome.ts';
import type { Asked, Planned } from './echoing-server.ts';

/** An OperationOutcome that says what was sent, where HAPI says it and everywhere else; `hapi`: the code before it. */
export function outcomeAbout({ url, body }: Pick<Asked, 'url' | 'body'>, word: string, hapi = 'HAPI-0450'): object {
  const said = `${decodeURIComponent(url)} ${body}`.slice(0, 20_000);
  return {
    resourceType: 'OperationOutcome',
    id: word,
    text: { status: 'generated', div: `<div xmlns="http://www.w3.org/1999/xhtml">${said}</div>` },
    issue: [
      {
        severity: 'error',
        code: 'invalid',
        details: { coding: [{ system: word, code: word, display: said }], text: said },
        diagnostics: `${hapi}: ${said} [element="${word}"] [element="birthDate"] HAPI-1847: HAPI-2047:`,
        location: [word, `/f:Patient/f:name/${said}`],
        expression: ['Patient.birthDate', `Patient.${word}`, `Patient.name.where(family='${said}')`, said],
      },
      { severity: word, code: word, diagnostics: word },
    ],
  };
}

/** As the table has it for this status. */
function refusal(status: number, word: string, hapi?: string): (asked: Asked) => Planned {
  return (asked) => ({
    status,
    headers: {
      location: `/fhir/Patient/${word}/_history/${word}?identifier=${word}`,
      'content-location': `/fhir/Patient/${word}`,
      etag: `W/"${word}"`,
      // Read by no one as a time.
      'retry-after': word,
    },
    body: JSON.stringify(outcomeAbout(asked, word, hapi)),
  });
}

const page = (word: string): Planned => ({
  status: 200,
  headers: { 'content-type': 'text/html' },
  body: `<html><title>${word}</title><form action="/login?next=${word}">`,
});
const bundle = (word: string, type: string, ids: readonly string[], identifier?: object): Planned => ({
  status: 200,
  body: JSON.stringify({
    resourceType: 'Bundle',
    type,
    entry: ids.map((id) => ({
      response: { status: `200 ${word}` },
      resource: {
        resourceType: 'Patient',
        id,
        name: [{ family: word }],
        ...(identifier && { identifier: [identifier] }),
      },
    })),
  }),
});

type Causing = { readonly operation: Operation; readonly answer: (asked: Asked, word: string) => Planned };

/** Null: it is no answer to one request, and has a test of its own. */
const BY_CAUSE: Readonly<Record<Cause, readonly Causing[] | null>> = {
  timeout: [
    { operation: 'conditional-put', answer: () => 'never' },
    { operation: 'put-by-id', answer: () => 'never' },
  ],
  tls: null,
  unreachable: null,
  network: [
    { operation: 'conditional-put', answer: () => 'cut' },
    { operation: 'put-by-id', answer: () => 'cut' },
  ],
  token: null,
  'token-refused': null,
  'no-token-endpoint': null,
  'another-resource': [
    {
      operation: 'conditional-put',
      answer: (_, word) => ({
        status: 200,
        body: JSON.stringify({ resourceType: 'Patient', id: 'r0', identifier: [{ system: 'urn:other', value: word }] }),
      }),
    },
  ],
  'insufficient-scope': [
    {
      operation: 'put-by-id',
      answer: (_, word) => ({
        status: 403,
        headers: { 'www-authenticate': `Bearer error="insufficient_scope", scope="${word}"` },
      }),
    },
  ],
  'not-fhir': [
    { operation: 'put-by-id', answer: (_, word) => page(word) },
    { operation: 'read', answer: (_, word) => ({ status: 404, body: `{"${word}": "${word}"` }) },
  ],
  'not-r4': [
    {
      operation: 'metadata',
      answer: (_, word) => ({
        status: 200,
        body: JSON.stringify({
          resourceType: 'CapabilityStatement',
          fhirVersion: `5.0.0-${word}`,
          software: { name: word },
        }),
      }),
    },
  ],
  'several-found': [{ operation: 'search', answer: (_, word) => bundle(word, 'searchset', [`${word}a`, `${word}b`]) }],
  'not-several': [
    {
      operation: 'conditional-put',
      answer: (asked, word) => ({ status: 412, body: JSON.stringify(outcomeAbout(asked, word)) }),
    },
  ],
  'search-ignored': [
    {
      operation: 'search',
      answer: (_, word) => bundle(word, 'searchset', [word], { system: 'urn:other', value: word }),
    },
  ],
  'bundle-unreadable': [{ operation: 'transaction', answer: (_, word) => bundle(word, word, [word]) }],
  'answer-too-large': [
    {
      operation: 'put-by-id',
      // Of a write twice a megabyte and four times what was sent are read.
      answer: ({ body }, word) => ({ status: 200, headers: { etag: word }, body: word.repeat(200_000 + body.length) }),
    },
  ],
};

export interface FaultCase {
  readonly name: string;
  readonly row: FaultRow;
  /** As the metrics have it. */
  readonly code: string;
  readonly operation: Operation;
  readonly answer: (asked: Asked, word: string) => Planned;
}

const OPERATIONS: Readonly<Record<Operation, true>> = {
  'conditional-put': true,
  'put-by-id': true,
  transaction: true,
  'delete-by-id': true,
  search: true,
  read: true,
  probe: true,
  metadata: true,
};

/** What makes a row of the fault table apply: for each operation that it names, each status. None where only a test of its own does. */
export function casesOf(row: FaultRow): FaultCase[] {
  const { match } = row;
  if (typeof match === 'string')
    return (BY_CAUSE[match] ?? []).map(({ operation, answer }) => ({
      name: `${row.code} to ${operation}`,
      row,
      code: row.code,
      operation,
      answer,
    }));
  const operations = row.on === 'any' ? (Object.keys(OPERATIONS) as Operation[]) : row.on;
  const hapi = match.hapi?.[0];
  return operations.flatMap((operation) =>
    match.status.flatMap(statusesOf).flatMap((status) => {
      const outcome = readOutcome(outcomeAbout({ url: '', body: '' }, 'word', hapi));
      const fault = faultOfAnswer(operation, { status, retryAfter: undefined, outcome });
      // An earlier row may be meant by it.
      if (!fault.reason.startsWith(row.sentence) || fault.disposition !== row.disposition) return [];
      const name = `${fault.code} (${status}${hapi ? ` ${hapi}` : ''}) to ${operation}`;
      const answer = (asked: Asked, word: string) => refusal(status, word, hapi)(asked);
      return [{ name, row, code: fault.code, operation, answer }];
    }),
  );
}

/** Causes that `casesOf` knows no answer for. */
export function isSetUpElsewhere({ match }: FaultRow): boolean {
  return typeof match === 'string' && BY_CAUSE[match] === null;
}

function statusesOf(pattern: string): number[] {
  const statuses: Record<string, number[]> = { '3xx': [302, 308], '4xx': [400, 412, 418], '5xx': [500, 507] };
  return statuses[pattern] ?? [Number(pattern)];
}
