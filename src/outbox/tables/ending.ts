// How a delivery can end: what is recorded of it.
import type { Fault } from '../../fhir/faults/fault.ts';
import { sameTokens, type Token } from '../../fhir/model/token.ts';
import { type Delivery, identifiersOf } from '../delivery/delivery.ts';
import type { Source } from '../delivery/source.ts';

/** How a delivery ended. */
export type Ending =
  | {
      readonly kind: 'delivered';
      /** Null when nothing was to be done: deleted before it ever reached the server. */
      readonly fhirId: string | null;
      readonly versionId: string | null;
      readonly deleted: boolean;
      /** The identifiers that the resource carries now; null when they are recorded already, or not known: its row is gone. */
      readonly identifiers: readonly Token[] | null;
      /** The link is new: the link of a deleted row may have to let go of the resource. */
      readonly firstContact: boolean;
    }
  | { readonly kind: 'superseded' }
  | {
      readonly kind: 'dead';
      readonly reason: string;
      readonly httpStatus: number | null;
      readonly operationOutcome: unknown;
      readonly attempts: number;
      /** Identifiers that the resource carries now if a try was applied without our hearing of it; otherwise null. */
      readonly mayCarry: readonly Token[] | null;
      /** The row whose resource it waits for; null for none. */
      readonly waitsFor: Source | null;
    };

/** A newer state of the same resource was delivered. */
export const SUPERSEDED: Ending = { kind: 'superseded' };

/** Deleted, and never on the server. */
export const NOTHING_TO_DO: Ending = {
  kind: 'delivered',
  fhirId: null,
  versionId: null,
  deleted: true,
  identifiers: null,
  firstContact: false,
};

/** `recorded`: the identifiers that fhir_link_identifier has of the resource; null when that is not known. */
export function deliveredEnding(
  { fhirId, versionId, firstContact }: { fhirId: string; versionId: string | null; firstContact: boolean },
  delivery: Delivery,
  recorded: readonly Token[] | null,
): Ending {
  const identifiers = identifiersOf(delivery);
  return {
    kind: 'delivered',
    fhirId,
    versionId,
    deleted: delivery.operation === 'delete',
    // What is recorded decides, for the change that changed them may be a dead letter. But what we remember of it does
    // not have what was given to the resource by somebody else: the event that takes that away says what it had.
    identifiers:
      !delivery.previous && identifiers && recorded && sameTokens(identifiers, recorded) ? null : identifiers,
    firstContact,
  };
}

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
