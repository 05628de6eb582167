// The end of a delivery that is given up.
import type { Fault } from '../../fhir/faults/fault.ts';
import { type Delivery, identifiersOf } from '../delivery/delivery.ts';
import type { Source } from '../delivery/source.ts';
import type { Ending } from './record.ts';

/**
 * `mayBeThere`: a try may have been applied without our hearing of it, or without its record. `waitsFor`: the row whose resource
 * it refers to; when that is there, the dead letter is sent again.
 */
export function deadEnding(
  delivery: Delivery,
  reason: string,
  fault: Fault | null,
  mayBeThere: boolean,
  waitsFor: Source | null = null,
): Ending {
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
