// What one transaction did to each resource: the state to send, whether it is a delete, what it was called before.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Delivery, deliveriesOf } from '../../src/outbox/delivery/delivery.ts';
import { parseEvent } from '../../src/outbox/delivery/event.ts';
import { parseLsn } from '../../src/postgres/lsn.ts';
import { type OutboxRow, outboxRow } from './rows.ts';

const ORIGIN = { committedAt: new Date('2026-01-02T03:04:05Z'), endLsn: parseLsn('1/2') };

interface Mapped {
  readonly type: string;
  readonly operation: string;
  readonly payload: unknown;
}

/** The deliveries of one transaction with these rows, and what was asked to be mapped. */
function deliver(...rows: Partial<OutboxRow>[]): { deliveries: Delivery[]; mapped: Mapped[] } {
  const mapped: Mapped[] = [];
  const deliveries = deliveriesOf(
    rows.map((row) => parseEvent(outboxRow(row))),
    ORIGIN,
    ({ type }, operation, payload) => {
      mapped.push({ type, operation, payload });
      return null;
    },
  );
  return { deliveries, mapped };
}

function only(...rows: Partial<OutboxRow>[]): { delivery: Delivery; payload: unknown } {
  const { deliveries, mapped } = deliver(...rows);
  const [delivery] = deliveries;
  if (!delivery || deliveries.length > 1) throw new Error(`There are ${deliveries.length} deliveries.`);
  return { delivery, payload: mapped[0]?.payload };
}

const child = 'patient_other_identifiers';

describe('deliveriesOf', () => {
  it('keeps nothing of the rows, nor of whatever else the transaction holds, but what the delivery needs', () => {
    const [delivery] = deliveriesOf(
      [parseEvent(outboxRow())],
      { ...ORIGIN, rows: ['row'] } as typeof ORIGIN,
      () => null,
    );
    expect(delivery).toMatchObject(ORIGIN);
    expect(delivery).not.toHaveProperty('rows');
  });

  it('makes one delivery for each patient, of all its rows', () => {
    const { deliveries } = deliver(
      { id: 1, patient_id: 5, patient_revision: 1 },
      { id: 2, patient_id: 6, patient_revision: 2 },
      { id: 3, patient_id: 5, patient_revision: 3, table_name: child },
    );
    expect(deliveries.map(({ sourceId, outboxIds }) => ({ sourceId, outboxIds }))).toEqual([
      { sourceId: 6, outboxIds: [2] },
      { sourceId: 5, outboxIds: [1, 3] },
    ]);
  });

  it('names it by resource, source id and last revision, and says where it came from', () => {
    const { delivery } = only(
      { id: 1, txid: '4294967301', patient_id: 17, patient_revision: 41, attempts: 2 },
      { id: 2, txid: '4294967301', patient_id: 17, patient_revision: 42, attempts: 1 },
    );
    expect(delivery).toMatchObject({
      ...ORIGIN,
      eventKey: 'Patient/17/42',
      resourceType: 'Patient',
      sourceId: 17,
      revision: 42,
      txid: 4294967301,
      attempts: 2,
    });
  });

  it('sends the payload of the highest revision, in whatever order the rows come', () => {
    const { delivery, payload } = only(
      { id: 2, patient_revision: 8, payload_json: { state: 'new' } },
      { id: 1, patient_revision: 7, payload_json: { state: 'old' } },
    );
    expect(payload).toEqual({ state: 'new' });
    expect(delivery).toMatchObject({ payloadId: 2, outboxIds: [1, 2], revision: 8, operation: 'upsert' });
  });

  it('skips the empty payload of a row that had no patient left to read', () => {
    const { delivery, payload } = only(
      { id: 1, patient_revision: 1, payload_json: { state: 'last known' } },
      { id: 2, patient_revision: 2, payload_json: {}, table_name: child },
    );
    expect(payload).toEqual({ state: 'last known' });
    expect(delivery).toMatchObject({ payloadId: 1, revision: 2 });
  });

  it('deletes with the payload of the D of the patient, though its children follow by cascade', () => {
    const { delivery, payload } = only(
      { id: 1, patient_revision: 1, operation: 'U', payload_json: { state: 'before' } },
      { id: 2, patient_revision: 2, operation: 'D', payload_json: { state: 'deleted' } },
      { id: 3, patient_revision: 3, operation: 'D', payload_json: {}, table_name: child },
      { id: 4, patient_revision: 4, operation: 'D', payload_json: {}, table_name: child },
    );
    expect(payload).toEqual({ state: 'deleted' });
    expect(delivery).toMatchObject({ operation: 'delete', payloadId: 2, revision: 4, outboxIds: [1, 2, 3, 4] });
  });

  it('updates where the D of a child comes alone', () => {
    const { delivery } = only({ operation: 'D', table_name: child });
    expect(delivery.operation).toBe('upsert');
  });

  it('updates where the patient is deleted and inserted again, with the state inserted', () => {
    const { delivery, payload } = only(
      { id: 1, patient_revision: 1, operation: 'D', payload_json: { state: 'deleted' } },
      { id: 2, patient_revision: 2, operation: 'D', payload_json: {}, table_name: child },
      { id: 3, patient_revision: 3, operation: 'I', payload_json: { state: 'inserted' } },
    );
    expect(payload).toEqual({ state: 'inserted' });
    expect(delivery).toMatchObject({ operation: 'upsert', payloadId: 3 });
  });

  it('deletes what was inserted and deleted in one transaction', () => {
    const { delivery } = only({ patient_revision: 1, operation: 'I' }, { patient_revision: 2, operation: 'D' });
    expect(delivery.operation).toBe('delete');
  });

  it('keeps the identifiers from before the transaction, not from in between', () => {
    const identifier = (value: string) => [{ system: 'urn:t', value, primary: true }];
    const { delivery } = only(
      { patient_revision: 1, previous_identifiers: null },
      { patient_revision: 2, previous_identifiers: identifier('first') },
      { patient_revision: 3, previous_identifiers: identifier('second') },
    );
    expect(delivery.previous).toEqual(identifier('first'));
    expect(only({ previous_identifiers: null }).delivery.previous).toBe(null);
    expect(only({ previous_identifiers: [] }).delivery.previous).toEqual([]);
  });

  it('orders the deliveries by their last revisions', () => {
    const { deliveries } = deliver(
      { patient_id: 1, patient_revision: 9 },
      { patient_id: 2, patient_revision: 3 },
      { patient_id: 3, patient_revision: 6 },
    );
    expect(deliveries.map(({ sourceId }) => sourceId)).toEqual([2, 3, 1]);
  });

  it('dead-letters a row of a table from which nothing is mapped, and one that names no patient', () => {
    const { deliveries, mapped } = deliver(
      { id: 1, table_name: 'invoice' },
      { id: 2, patient_id: null },
      { id: 3, patient_id: 4 },
    );
    expect(mapped).toHaveLength(1);
    expect(deliveries.map(({ eventKey, outboxIds, mapped: state }) => ({ eventKey, outboxIds, state }))).toEqual([
      {
        eventKey: 'Outbox/1/0',
        outboxIds: [1],
        state: { ok: false, reason: 'No FHIR resource is mapped from the table invoice.' },
      },
      { eventKey: 'Outbox/2/0', outboxIds: [2], state: { ok: false, reason: 'The outbox row names no patient.' } },
      { eventKey: expect.stringMatching(/^Patient\/4\//), outboxIds: [3], state: null },
    ]);
  });

  it('repeats a table only by a name that can be one', () => {
    const { deliveries } = deliver({ id: 1, table_name: 'Smith, John' });
    expect(deliveries[0]?.mapped).toEqual({
      ok: false,
      reason: 'No FHIR resource is mapped from what the row names as its table.',
    });
  });

  it('dead-letters a row that cannot be read, and delivers the others of its transaction', () => {
    const { deliveries } = deliver({ id: 1, operation: 'T' as 'I' }, { id: 2, patient_id: 4 });
    expect(deliveries[0]).toMatchObject({
      resourceType: 'Outbox',
      outboxIds: [1],
      mapped: { ok: false, reason: expect.stringContaining('operation') },
    });
    expect(deliveries[1]).toMatchObject({ resourceType: 'Patient', outboxIds: [2] });
  });

  it('puts every row into exactly one delivery', () => {
    const row = fc.record({
      patient_id: fc.option(fc.integer({ min: 1, max: 4 })),
      table_name: fc.constantFrom('patient', child, 'invoice'),
      operation: fc.constantFrom('I', 'U', 'D', 'T') as fc.Arbitrary<'I'>,
      payload_json: fc.constantFrom<Record<string, unknown>>({}, { id: 1 }),
    });
    fc.assert(
      fc.property(fc.array(row, { maxLength: 40, size: 'max' }), (rows) => {
        const { deliveries } = deliver(...rows.map((each, index) => ({ ...each, id: index + 1 })));
        const ids = deliveries.flatMap(({ outboxIds }) => outboxIds);
        expect(ids.toSorted((a, b) => a - b)).toEqual(rows.map((_, index) => index + 1));
        expect(new Set(deliveries.map(({ eventKey }) => eventKey)).size).toBe(deliveries.length);
      }),
    );
  });
});
