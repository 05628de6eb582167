// The order within a transaction: the one that gives an identifier up (the giver) goes before the one that takes it (the taker).
import { type Token, tokenKey } from '../../fhir/model/token.ts';
import { type Delivery, identifiersOf } from './delivery.ts';

/**
 * In the database both happen at once; on the server the taker's first contact must not find the giver's resource. Where
 * patients take from each other in a circle, someone begins: linked patients go by id, and for them the order is nothing.
 */
export function giversFirst(deliveries: readonly Delivery[]): Delivery[] {
  const givers = new Map<string, Delivery>();
  for (const delivery of deliveries) for (const token of givenUp(delivery)) givers.set(tokenKey(token), delivery);
  if (givers.size === 0) return [...deliveries];
  const ordered = new Set<Delivery>();
  const begun = new Set<Delivery>();
  const visit = (delivery: Delivery): void => {
    if (begun.has(delivery)) return;
    begun.add(delivery);
    for (const token of taken(delivery)) {
      const giver = givers.get(tokenKey(token));
      if (!giver) continue;
      // What refers to a deleted patient is deleted with it, and before it.
      if (giver.operation === 'delete') for (const other of deletedWith(giver, deliveries)) visit(other);
      visit(giver);
    }
    ordered.add(delivery);
  };
  for (const delivery of deliveries) visit(delivery);
  return [...ordered];
}

function deletedWith({ patientId }: Delivery, deliveries: readonly Delivery[]): Delivery[] {
  return deliveries.filter(
    (other) => other.patientId === patientId && other.operation === 'delete' && other.table !== 'patient',
  );
}

function givenUp(delivery: Delivery): readonly Token[] {
  const previous = delivery.previous ?? [];
  if (delivery.operation === 'delete') return previous;
  const kept = new Set(current(delivery).map(tokenKey));
  return previous.filter((token) => !kept.has(tokenKey(token)));
}

/** What its resource carries from now on and did not before. */
export function taken(delivery: Delivery): readonly Token[] {
  if (delivery.operation === 'delete' || delivery.previous === null) return [];
  const had = new Set(delivery.previous.map(tokenKey));
  return current(delivery).filter((token) => !had.has(tokenKey(token)));
}

function current(delivery: Delivery): readonly Token[] {
  return identifiersOf(delivery) ?? [];
}
