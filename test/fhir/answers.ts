// Answers of a server as the transport hands them on, and the OperationOutcomes in them.
import type { HttpAnswer } from '../../src/fhir/http/dispatch.ts';

/** The body is sent as it is when it is text, as JSON otherwise; undefined for none. */
export function answerOf(body?: unknown, headers: Record<string, string> = {}, status = 200): HttpAnswer {
  const text = typeof body === 'string' ? body : body === undefined ? '' : JSON.stringify(body);
  return { status, headers, body: { text } };
}

/** An OperationOutcome of one issue, with HAPI's habit of telling everything in diagnostics. */
export function outcomeWith(diagnostics: string, code = 'processing'): Record<string, unknown> {
  return { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code, diagnostics }] };
}
