// What follows when the FHIR server did not take a delivery. The fault table says of each failure its disposition, whether it
// counts as an attempt, and whether it stops all sends:
//
//   disposition        attempt            stopsSends  what happens
//   hold, dead-letter  any                any         a dead letter; but back to the gate where the server refuses everybody
//   any other          counts             any         one attempt more, then a wait; with none left, as if it were refused
//   any other          if-server-answers  any         as `counts` where the server is seen working afterwards, else as `never`
//   any other          never              yes         back to the gate, after Retry-After: it holds all until the server works
//   any other          never              no          a wait
//
// A wait is the backoff, or the server's Retry-After where that is longer. Back at the gate it queues behind the others.
import type { Fault } from '../../fhir/faults/fault.ts';
import type { Blamed, SendGate } from '../../fhir/faults/send-gate.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import { type Delivery, whoIs } from '../delivery/delivery.ts';
import { deadEnding } from '../tables/ending.ts';
import { isExhausted, isPatientsFault, retryDelay } from './retry-policy.ts';
import type { Step, Tries } from './tries.ts';

export interface FailureParts {
  readonly gate: SendGate;
  readonly metrics: Metrics;
  readonly maxRetries: number;
  /** Keeps attempts, next_retry_at and last_error of the outbox rows up. */
  noteFailure(delivery: Delivery, reason: string, nextRetryAt: Date): Promise<void>;
}

/** One failed try. */
export interface Failure {
  readonly kind: 'failed';
  readonly fault: Fault;
  /** performance.now(), as `failedAt`. */
  readonly startedAt: number;
  readonly failedAt: number;
  /** Who is to blame, where that is known at once: for a refusal. */
  readonly blamed: Blamed | null;
}

/** Tells the gate at once, before it gives the place to somebody else. */
export function tellGate(gate: SendGate, tries: Tries, fault: Fault, startedAt: number): Failure {
  const failedAt = performance.now();
  if (fault.stopsSends) gate.unreachable(fault);
  const isRefusal = fault.disposition === 'hold' || fault.disposition === 'dead-letter';
  const blamed = isRefusal ? noteRefusal(gate, tries, fault, failedAt) : null;
  return { kind: 'failed', fault, startedAt, failedAt, blamed };
}

/** By the table above. */
export async function afterFailure(parts: FailureParts, tries: Tries, failure: Failure): Promise<Step> {
  const { delivery } = tries;
  const { fault, startedAt, failedAt, blamed } = failure;
  tries.mustLookUp = true;
  tries.uncertain ||= fault.status === null || fault.status >= 500;
  if (blamed !== null) return afterRefusal(parts, tries, fault, blamed);
  tries.failures += 1;
  const wait = Math.max(1, retryDelay(tries.failures, fault.retryAfterMs, Math.random()));
  if (!(await counts(parts.gate, tries, failure)))
    return again(parts, delivery, fault, fault.stopsSends ? (fault.retryAfterMs ?? 0) : wait);
  if (delivery.attempts > 0) tries.triedMs += failedAt - startedAt;
  delivery.attempts += 1;
  // A server that answers reads and takes no writes (its disk is full, say) passes every probe and fails everybody.
  if (isExhausted(delivery.attempts, parts.maxRetries, tries.triedMs))
    return afterRefusal(parts, tries, fault, noteRefusal(parts.gate, tries, fault, failedAt));
  tries.triedMs += wait;
  return again(parts, delivery, fault, wait);
}

async function afterRefusal(parts: FailureParts, tries: Tries, fault: Fault, blamed: Blamed): Promise<Step> {
  if (blamed === 'server') return again(parts, tries.delivery, fault, 0);
  return { done: deadEnding(tries.delivery, fault.reason, fault, tries.uncertain) };
}

async function again({ metrics, noteFailure }: FailureParts, delivery: Delivery, fault: Fault, retryAfter: number) {
  metrics.retries.inc({ code: fault.code });
  await noteFailure(delivery, fault.reason, new Date(Date.now() + retryAfter));
  return { retryAfter };
}

function noteRefusal(gate: SendGate, tries: Tries, fault: Fault, failedAt: number): Blamed {
  const blamed = gate.noteRefusal(whoIs(tries.delivery), fault, tries.refusedAt, failedAt);
  tries.refusedAt ??= performance.now();
  return blamed;
}

/** Whether it is this patient's failure. That may take a while: until the server has answered somebody. */
async function counts(gate: SendGate, tries: Tries, { fault, startedAt, failedAt }: Failure): Promise<boolean> {
  if (fault.attempt !== 'if-server-answers') return fault.attempt === 'counts';
  const workedBefore = tries.serverWorked;
  tries.serverWorked = await gate.worksAfter(failedAt, whoIs(tries.delivery));
  return isPatientsFault(performance.now() - startedAt, workedBefore, tries.serverWorked);
}
