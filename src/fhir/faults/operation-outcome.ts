// OperationOutcomes: read whole for the dead letter, told to logs only by their codes and the elements they are about.
//
// diagnostics and details.text never leave for a log: HAPI echoes the match URL there (with the identifier), even SQL.

import { z } from 'zod';
import { elementsNamed, isElementPath } from '../model/element-path.ts';
import { toFhirString } from '../model/primitives.ts';

// https://hl7.org/fhir/R4/operationoutcome.html . PostgreSQL's jsonb refuses U+0000 and lone surrogates: toFhirString.
const storable = z.string().transform(toFhirString).optional().catch(undefined);
const listOf = <T extends z.ZodType>(item: T) => z.array(item).optional().catch(undefined);

const issue = z.object({
  severity: storable,
  code: storable,
  details: z
    .object({ coding: listOf(z.object({ system: storable, code: storable, display: storable })), text: storable })
    .optional()
    .catch(undefined),
  diagnostics: storable,
  location: listOf(z.string().transform(toFhirString)),
  expression: listOf(z.string().transform(toFhirString)),
});

/** That are kept: a server may send as many as an answer has room for. */
const MOST_ISSUES = 1000;

const operationOutcome = z.object({
  resourceType: z.literal('OperationOutcome'),
  issue: z.preprocess((all) => (Array.isArray(all) ? all.slice(0, MOST_ISSUES) : all), z.array(issue)),
});

export type Outcome = z.infer<typeof operationOutcome>;

// https://hl7.org/fhir/R4/valueset-issue-severity.html and valueset-issue-type.html . Only what is listed is repeated:
// a server may put anything into a code, also a name.
const SEVERITIES = new Set(['fatal', 'error', 'warning', 'information']);
const TYPES = new Set(
  `invalid structure required value invariant security login unknown expired forbidden suppressed processing
  not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly business-rule
  conflict transient lock-error no-store exception timeout incomplete throttled informational`.split(/\s+/),
);

// The codes of HAPI's messages that say something to an operator; any other might be part of an echoed identifier.
const HAPI_CODES = new Set(
  `HAPI-0302 HAPI-0389 HAPI-0419 HAPI-0420 HAPI-0450 HAPI-0550 HAPI-0823 HAPI-0824 HAPI-0825 HAPI-0929 HAPI-0960
  HAPI-0962 HAPI-0988 HAPI-0989 HAPI-1321 HAPI-1821 HAPI-1861 HAPI-2001 HAPI-2207 HAPI-2223`.split(/\s+/),
);

/** Of issues, and of the elements of one. A line of a log, not a list. */
const MOST_TOLD = 5;

/** The OperationOutcome in a parsed body, cut down to the elements of the specification; null when it is none. */
export function readOutcome(body: unknown): Outcome | null {
  const read = operationOutcome.safeParse(body);
  return read.success ? read.data : null;
}

/** One issue as far as anybody may see it. */
export interface ToldIssue {
  /** '' when the server gave none of the specification. */
  readonly severity: string;
  readonly code: string;
  readonly hapi: readonly string[];
  /** Paths of elements, such as `Patient.name[0].family`, or names alone. */
  readonly elements: readonly string[];
}

/** The issues of an outcome without what the server wrote into them: that may quote the patient. */
export function toldIssues(outcome: Outcome | null): ToldIssue[] {
  return (outcome?.issue ?? []).map((one) => {
    const paths = [...(one.expression ?? []), ...(one.location ?? [])].filter(isElementPath);
    return {
      severity: SEVERITIES.has(one.severity ?? '') ? (one.severity ?? '') : '',
      code: TYPES.has(one.code ?? '') ? (one.code ?? '') : '',
      hapi: hapiCodes({ resourceType: 'OperationOutcome', issue: [one] }),
      elements: [...new Set(paths.length > 0 ? paths : elementsNamed(one.diagnostics ?? ''))],
    };
  });
}

/** As "error invalid HAPI-0450 at Patient.birthDate"; '' when it says nothing. */
export function issueText({ severity, code, hapi, elements }: ToldIssue): string {
  const where = elements.length > 0 ? `at ${elements.slice(0, MOST_TOLD).join(', ')}` : '';
  return [severity, code, ...hapi, where].filter((word) => word !== '').join(' ');
}

/** The known HAPI error codes that an outcome names, in their order, each once. */
export function hapiCodes(outcome: Outcome | null): string[] {
  const texts = outcome?.issue.flatMap((one) => [one.diagnostics ?? '', one.details?.text ?? '']) ?? [];
  const named = texts.flatMap((text) => text.match(/\bHAPI-\d{4}(?=:)/g) ?? []);
  return [...new Set(named)].filter((code) => HAPI_CODES.has(code));
}

/** What a log may say of an outcome: its issues, each once; warnings only where there is nothing worse. '' when it says nothing. */
export function shortReason(outcome: Outcome | null): string {
  const issues = toldIssues(outcome);
  const errors = issues.filter(({ severity }) => severity === 'error' || severity === 'fatal');
  const texts = (errors.length > 0 ? errors : issues).map(issueText).filter((text) => text !== '');
  return [...new Set(texts)].slice(0, MOST_TOLD).join('; ');
}
