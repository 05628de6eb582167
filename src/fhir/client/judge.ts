// Whether an answer is the success of what was asked, or which fault.

import { type Failed, type Fault, faultOf, faultOfAnswer } from '../faults/fault.ts';
import type { Operation } from '../faults/fault-table.ts';
import { readOutcome } from '../faults/operation-outcome.ts';
import { type HttpAnswer, headerOf } from '../http/dispatch.ts';
import { isFhirAnswer, jsonOf } from './answer.ts';

/** Success or fault, by status first. */
export function judge(operation: Operation, answer: HttpAnswer): { ok: true; answer: HttpAnswer } | Failed {
  const { status } = answer;
  // 202 is a success only for a delete: https://hl7.org/fhir/R4/http.html#delete
  const gone = operation === 'delete-by-id' && (status === 404 || status === 410);
  if (
    status === 200 ||
    status === 201 ||
    status === 204 ||
    (status === 202 && operation === 'delete-by-id') ||
    (gone && isFhirAnswer(answer))
  ) {
    return { ok: true, answer };
  }
  // A proxy's own 404 says nothing of the resource. To a Bundle it may be the server's: no such address for a POST.
  if ((status === 404 || status === 410) && operation !== 'transaction' && !isFhirAnswer(answer))
    return { ok: false, fault: noResource(answer) };
  // https://www.rfc-editor.org/rfc/rfc6750#section-3.1
  if (status === 403 && /\binsufficient_scope\b/.test(headerOf(answer, 'www-authenticate') ?? ''))
    return { ok: false, fault: faultOf('insufficient-scope', status) };
  const retryAfter = headerOf(answer, 'retry-after');
  const outcome = readOutcome(jsonOf(answer));
  return { ok: false, fault: faultOfAnswer(operation, { status, retryAfter, outcome }) };
}

/** The fault of an answer that does not hold what was asked for. */
export function noResource(answer: HttpAnswer): Fault {
  return faultOf('missing' in answer.body ? answer.body.missing : 'not-fhir', answer.status);
}
