// Turns an answer or an error into a Fault, by the fault table alone.

import { AssertionError } from 'node:assert';
import type { Attempt, Cause, Disposition, FaultRow, Operation } from './fault-table.ts';
import { FAULT_TABLE } from './fault-table.ts';
import type { Outcome } from './operation-outcome.ts';
import { hapiCodes, shortReason } from './operation-outcome.ts';

/** One failed request: what it was, and what to do about it. */
export interface Fault {
  /** Stable: 'http-503', 'timeout', 'several-matches' … (the codes of the table). */
  readonly code: string;
  readonly disposition: Disposition;
  readonly attempt: Attempt;
  readonly stopsSends: boolean;
  /** The HTTP status, null when none came. */
  readonly status: number | null;
  /** How long the server asks to wait, in milliseconds; null when it does not say. */
  readonly retryAfterMs: number | null;
  /** One sentence for the operator. Never holds diagnostics, a URL, a body: it goes into logs. */
  readonly reason: string;
  /** The OperationOutcome, for the dead letter only (it may hold patients' data); or null. */
  readonly outcome: unknown;
}

/** The answer of a call whose request failed: it was not carried out, or nobody knows. */
export interface Failed {
  readonly ok: false;
  readonly fault: Fault;
}

/** Why there is no usable answer; `detail` in a word or two that hold nothing of what was asked or answered. */
export interface Failure {
  readonly cause: Cause;
  readonly detail?: string;
}

/** What is known of an answer that is no success. */
export interface Refusal {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly outcome: Outcome | null;
}

/** A server that asks for more is asked again after this time all the same. */
const LONGEST_RETRY_AFTER_MS = 300_000;

/** The fault for an answer with a status that is not a success. `now` is in milliseconds, for an HTTP-date. */
export function faultOfAnswer(operation: Operation, refusal: Refusal, now: number = Date.now()): Fault {
  const codes = hapiCodes(refusal.outcome);
  const row = FAULT_TABLE.find(
    ({ on, match }) =>
      typeof match === 'object' &&
      (on === 'any' || on.includes(operation)) &&
      match.status.some((pattern) => fits(refusal.status, pattern)) &&
      (match.hapi === undefined || match.hapi.some((code) => codes.includes(code))),
  );
  if (row === undefined) return faultOf('not-fhir', refusal.status);
  const details = shortReason(refusal.outcome);
  return {
    code: row.code.replace('*', String(refusal.status)),
    ...actionOf(row),
    status: refusal.status,
    retryAfterMs: retryAfterMs(refusal.retryAfter, now),
    reason: `${row.sentence} (HTTP ${refusal.status}${details && `: ${details}`})`,
    outcome: refusal.outcome,
  };
}

/** The fault for a failure without a usable answer; `status` when there was one at all. */
export function faultOf(cause: Cause, status: number | null = null, detail?: string): Fault {
  const row = FAULT_TABLE.find(({ match }) => match === cause);
  if (row === undefined) throw new TypeError(`The fault table has no row for ${cause}.`);
  const more = detail ?? (status === null ? null : `HTTP ${status}`);
  const reason = more === null ? row.sentence : `${row.sentence} (${more})`;
  return { code: row.code, ...actionOf(row), status, retryAfterMs: null, reason, outcome: null };
}

/**
 * What an error of undici or of the network means, by its code and never by its message
 * (https://nodejs.org/api/errors.html#common-system-errors , https://undici.nodejs.org/#/docs/api/Errors ).
 * Null when it is a fault of this program, which must not be taken for the network's.
 */
export function causeOfError(error: unknown): Cause | null {
  if (!(error instanceof Error)) return null;
  if (error.name === 'TimeoutError') return 'timeout';
  // An answer that is no HTTP. undici means to give it a code of llhttp (HPE_…) and leaves it undefined.
  if (error.name === 'HTTPParserError') return 'network';
  // Of undici's parser, on an answer that no server may give, such as one with the status 000.
  if (error instanceof AssertionError) return 'network';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') return 'timeout';
  if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED' || code.startsWith('ERR_INVALID')) return null;
  if (UNREACHABLE.has(code) || code.startsWith('EAI_')) return 'unreachable';
  if (code === 'EPROTO' || CERTIFICATE.test(code) || /^ERR_(TLS|SSL)_/.test(code)) return 'tls';
  return /^(E[A-Z]+$|UND_ERR_)/.test(code) ? 'network' : null;
}

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** https://nodejs.org/api/tls.html#x509-certificate-error-codes ; UNSPECIFIED is what Node calls those that it does not list. */
const CERTIFICATE =
  /^(CERT_|CRL_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_|ERROR_IN_C|INVALID_CA$|INVALID_PURPOSE$|PATH_LENGTH_|UNSPECIFIED$)/;

/** Retry-After, in seconds or as an HTTP-date, https://httpwg.org/specs/rfc9110.html#field.retry-after ; capped. */
function retryAfterMs(header: string | undefined, now: number): number | null {
  const text = header?.trim() ?? '';
  const wait = /^\d+$/.test(text) ? Number(text) * 1000 : httpDate(text) - now;
  return Number.isNaN(wait) ? null : Math.min(Math.max(wait, 0), LONGEST_RETRY_AFTER_MS);
}

/**
 * https://httpwg.org/specs/rfc9110.html#http.date , of which one form names no zone and means GMT. Only what looks like
 * one: Date.parse reads dates out of almost anything, "-5" and "tomorrow 2099" too.
 */
function httpDate(text: string): number {
  if (!/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? .*\d\d:\d\d:\d\d/.test(text)) return Number.NaN;
  return Date.parse(text.endsWith('GMT') ? text : `${text} GMT`);
}

function actionOf({ disposition, attempt, stopsSends }: FaultRow) {
  return { disposition, attempt, stopsSends };
}

/** Whether a status is the pattern, where x stands for any digit. */
function fits(status: number, pattern: string): boolean {
  const digits = String(status);
  return digits.length === 3 && [...pattern].every((expected, at) => expected === 'x' || expected === digits[at]);
}
