// How it stands at this moment, line by line: is the slot read, what waits, what was delivered last, does the server answer?
import type { Kysely } from 'kysely';
import type { FhirClient } from './fhir/client.ts';
import {
  type DeadLetterFacts,
  type DeliveryFacts,
  deadLetterFacts,
  deliveryFacts,
  type OutboxFacts,
  outboxFacts,
  type SlotFacts,
  slotFacts,
  type VerificationFacts,
  verificationFacts,
} from './metrics/facts.ts';

export interface Status {
  readonly at: Date;
  readonly slot: SlotFacts & { readonly name: string };
  readonly outbox: OutboxFacts;
  readonly deliveries: DeliveryFacts;
  readonly deadLetters: DeadLetterFacts;
  readonly verifications: readonly VerificationFacts[];
  readonly fhir: { readonly answers: boolean; readonly software: string | null; readonly fault: string | null };
}

export async function readStatus<DB>(db: Kysely<DB>, slot: string, fhir: FhirClient): Promise<Status> {
  const [slotNow, outbox, deliveries, deadLetters, verifications, server] = await Promise.all([
    slotFacts(db, slot),
    outboxFacts(db),
    deliveryFacts(db),
    deadLetterFacts(db),
    verificationFacts(db),
    fhir.capabilities(),
  ]);
  return {
    at: new Date(),
    slot: { name: slot, ...slotNow },
    outbox,
    deliveries,
    deadLetters,
    verifications,
    fhir: server.ok
      ? { answers: true, software: server.capabilities.software, fault: null }
      : { answers: false, software: null, fault: server.fault.reason },
  };
}
