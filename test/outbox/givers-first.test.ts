// The order of one transaction's deliveries: who gives an identifier up goes before who takes it.
import { describe, expect, it } from 'vitest';
import type { Resource } from '../../src/fhir/model/resource-types.ts';
import type { Token } from '../../src/fhir/model/token.ts';
import { type Delivery, deliveriesOf } from '../../src/outbox/delivery/delivery.ts';
import { parseEvent } from '../../src/outbox/delivery/event.ts';
import { giversFirst } from '../../src/outbox/delivery/givers-first.ts';
import { outboxRow } from './rows.ts';

/** The change of a patient's identifier, and nothing else. */
function change(patientId: number, before: Token, after: Token): Delivery {
  const row = outboxRow({ patient_id: patientId, previous_identifiers: [{ ...before, primary: true }] });
  const resource = { resourceType: 'Patient' } as Resource;
  const [delivery] = deliveriesOf([parseEvent(row)], { committedAt: null, endLsn: null }, () => ({
    ok: true,
    resource,
    identifier: after,
    identifiers: [after],
    references: [],
  }));
  if (!delivery) throw new Error('One row makes one delivery.');
  return delivery;
}

const own = (value: string): Token => ({ system: 'urn:t', value });

describe('giversFirst', () => {
  it('lets who gives an identifier up go before who takes it', () => {
    const taker = change(1, own('1'), own('x'));
    const giver = change(2, own('x'), own('2'));
    expect(giversFirst([taker, giver])).toEqual([giver, taker]);
  });

  it('takes two identifiers for two where system and value are the same when put together', () => {
    const taken = { system: 'urn:a', value: 'b|c' };
    const taker = change(1, own('1'), taken);
    const giver = change(2, taken, own('2'));
    const another = change(3, { system: 'urn:a|b', value: 'c' }, own('3'));
    expect(giversFirst([taker, giver, another])).toEqual([giver, taker, another]);
  });
});
