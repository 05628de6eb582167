// How it stands at this moment, line by line: is the slot read, what waits, what was delivered last, does the server answer?
import type { Kysely } from 'kysely';
import type { FhirClient } from '../fhir/client/fhir-client.ts';
import { toldId } from '../fhir/model/told-id.ts';
import {
  type DeadLetterFacts,
  type DeliveryFacts,
  deadLetterFacts,
  deliveryFacts,
  type OutboxFacts,
  outboxFacts,
  type SlotFacts,
  slotFacts,
  triggersOffNow,
  type VerificationFacts,
  verificationFacts,
} from '../metrics/facts.ts';
import { tookTooLong } from '../postgres/errors.ts';
import type { Shard } from '../shard.ts';

type Last = NonNullable<DeliveryFacts['last']>;

/** Without what decides whether an id may be told. */
interface ToldDeliveries extends Omit<DeliveryFacts, 'last'> {
  readonly last: Omit<Last, 'payload'> | null;
}

/** What PostgreSQL did not tell in time is null: a lock, or very much to count. */
export interface Status {
  readonly at: Date;
  readonly slot: SlotFacts & { readonly name: string };
  /** How many are missing or disabled. */
  readonly triggersOff: number;
  readonly outbox: OutboxFacts | null;
  readonly deliveries: ToldDeliveries | null;
  readonly deadLetters: DeadLetterFacts | null;
  readonly verifications: readonly VerificationFacts[] | null;
  readonly fhir: { readonly answers: boolean; readonly software: string | null; readonly fault: string | null };
}

export async function readStatus<DB>(db: Kysely<DB>, slot: string, shard: Shard, fhir: FhirClient): Promise<Status> {
  const [slotNow, off, outbox, deliveries, deadLetters, verifications, server] = await Promise.all([
    slotFacts(db, slot),
    triggersOffNow(db),
    inTime(outboxFacts(db, shard)),
    inTime(deliveryFacts(db)),
    inTime(deadLetterFacts(db, shard)),
    inTime(verificationFacts(db)),
    fhir.capabilities(),
  ]);
  return {
    at: new Date(),
    slot: { name: slot, ...slotNow },
    triggersOff: off,
    outbox,
    deliveries: deliveries && { ...deliveries, last: deliveries.last && told(deliveries.last) },
    deadLetters,
    verifications,
    fhir: server.ok
      ? { answers: true, software: server.capabilities.software, fault: null }
      : { answers: false, software: null, fault: server.fault.reason },
  };
}

function told({ payload, fhirId, version, ...rest }: Last): Omit<Last, 'payload'> {
  return { ...rest, fhirId: toldId(fhirId, payload), version: toldId(version, payload) };
}

async function inTime<T>(facts: Promise<T>): Promise<T | null> {
  try {
    return await facts;
  } catch (error) {
    if (tookTooLong(error)) return null;
    throw error;
  }
}
