// The end of a delivery that is given up.
import type { Fault } from '../fhir/fault.ts';
import { type Delivery, identifiersOf } from './delivery.ts';
import type { Source } from './links.ts';
import type { Outcome } from './record.ts';

/**
 * `mayBeThere`: a try may have been applied without our hearing of it, or without its record. `waitsFor`: the row whose resource
 * it refers to; when that is there, the dead letter is sent again.
 */
export function deadOutcome(
  delivery: Delivery,
  reason: string,
  fault: Fault | null,
  mayBeThere: boolean,
  waitsFor: Source | null = null,
): Outcome {
  return {
    kind: 'dead',
    reason,
    httpStatus: fault?.status ?? null,
    operationOutcome: fault?.outcome ?? null,
    attempts: delivery.attempts,
    mayCarry: mayBeThere ? identifiersOf(delivery) : null,
    waitsFor,
  };
}
