// The payload surface: whatever a row of fhir_outbox holds becomes a resource, the same each time, or is refused in a sentence.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { putOfId, putOfIdentifier } from '../../src/fhir/client/put.ts';
import { transactionOf } from '../../src/fhir/client/transaction-bundle.ts';
import type { Profile } from '../../src/fhir/mapping/mapped-resource.ts';
import { type Delivery, deliveriesOf, type MapState } from '../../src/outbox/delivery/delivery.ts';
import { parseEvent } from '../../src/outbox/delivery/event.ts';
import { KINDS } from '../../src/outbox/delivery/kinds.ts';
import { TransactionRows } from '../../src/outbox/delivery/transaction-rows.ts';
import { payloadOf } from '../fhir/payloads.ts';
import { recordPayload } from '../fhir/records.ts';
import { CANARY, mustBeUnpolluted, oddJson, oddText, spoiled } from './hostile-json.ts';
import { opened, type Surface } from './surface.ts';

/** A row of thousands of identifiers takes milliseconds; this is for a machine that does much else. */
const LONGEST_MS = 5000;
const LONGEST_REASON = 200;

export const TABLES = ['patient', 'patient_other_identifiers', 'form', 'blood_pressure', 'pulse'];

const identifier = fc.oneof(
  { weight: 2, arbitrary: fc.record({ identifier_system: oddText, identifier_value: oddText }) },
  { weight: 1, arbitrary: spoiled({ identifier_system: 'urn:system', identifier_value: 'value' }) },
);

/** Thousands, each another one; or a few that may be equal. */
const otherIdentifiers = fc.oneof(
  { weight: 3, arbitrary: fc.array(identifier, { maxLength: 5 }) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(100, 3000, 30_000)
      .map((count) =>
        Array.from({ length: count }, (_, n) => ({ identifier_system: 'urn:many', identifier_value: `${n}` })),
      ),
  },
);

export function payloadIn(table: string): fc.Arbitrary<unknown> {
  const whole = table.startsWith('patient') ? payloadOf({ name_family: 'Family' }) : recordPayload(table, {});
  return fc.oneof(
    { weight: 6, arbitrary: spoiled(whole) },
    { weight: 2, arbitrary: otherIdentifiers.map((other_identifiers) => ({ ...whole, other_identifiers })) },
    { weight: 1, arbitrary: oddJson },
  );
}

const columns = fc.constantFrom(...TABLES, 'unknown_table').chain((table) =>
  payloadIn(table).chain((payload_json) =>
    fc.oneof(
      {
        weight: 3,
        arbitrary: fc.constantFrom('I', 'U', 'D').map((operation) => ({ ...rowOf(table), operation, payload_json })),
      },
      { weight: 2, arbitrary: spoiledRow({ ...rowOf(table), payload_json }) },
      {
        weight: 1,
        arbitrary: fc
          .array(fc.record({ system: oddText, value: oddText, primary: fc.boolean() }), { maxLength: 4 })
          .map((previous_identifiers) => ({ ...rowOf(table), payload_json, previous_identifiers })),
      },
    ),
  ),
);

/** What a column of PostgreSQL's types can hold; only jsonb holds anything. */
export const int4 = fc.oneof(fc.integer(), fc.constantFrom(0, -1, 2 ** 31 - 1, -(2 ** 31)));
const int8 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);

function spoiledRow(row: Record<string, unknown>): fc.Arbitrary<Record<string, unknown>> {
  const odd = fc.record(
    {
      record_id: int4,
      patient_id: fc.option(int4),
      patient_revision: int8,
      attempts: int4,
      table_name: oddText,
      operation: oddText,
      traceparent: fc.option(oddText),
      previous_identifiers: fc.option(oddJson),
      payload_json: oddJson,
    },
    { requiredKeys: [] },
  );
  return odd.map((columns) => ({ ...row, ...columns }));
}

/** As the slot gives it: numbers of 64 bits as texts. */
function rowOf(table: string): Record<string, unknown> {
  return {
    id: '7',
    txid: '900',
    table_name: table,
    record_id: 3,
    operation: 'U',
    payload_json: {},
    patient_id: 5,
    patient_revision: '11',
    previous_identifiers: null,
    attempts: 0,
    traceparent: null,
  };
}

function read(row: Record<string, unknown>, profile: Profile, withdraw: boolean): Delivery[] {
  const map: MapState = (kind, operation, payload) => kind.map(payload, profile, withdraw && operation === 'delete');
  return deliveriesOf([parseEvent(row, 100)], { committedAt: null, endLsn: null }, map);
}

function holds([row, profile, withdraw]: [Record<string, unknown>, Profile, boolean]): void {
  const started = performance.now();
  const deliveries = read(row, profile, withdraw);
  const spilling = new TransactionRows();
  for (let rows = 0; rows < 3; rows += 1) spilling.add(row, 4 * 1024 * 1024);
  assert.equal([...spilling.chunksOfPatients(10)].flat().length, 3);
  const tookMs = performance.now() - started;
  assert.ok(tookMs < LONGEST_MS, `It took ${tookMs} ms.`);
  mustBeUnpolluted();
  assert.equal(JSON.stringify(read(row, profile, withdraw)), JSON.stringify(deliveries));
  const [delivery] = deliveries;
  assert.ok(delivery && deliveries.length === 1);
  const { mapped, resourceType, eventKey } = delivery;
  if (!mapped?.ok) {
    mustBeSentence(mapped?.reason);
    return;
  }
  assert.equal(mapped.resource.resourceType, resourceType);
  assert.ok(KINDS.some(({ type }) => type === resourceType));
  assert.deepEqual(mapped.identifiers[0], mapped.identifier);
  // What goes out is JSON that comes back as it was.
  const put = putOfIdentifier(mapped.resource, mapped.identifier, eventKey);
  assert.equal(JSON.stringify(JSON.parse(put.body)), put.body);
  JSON.parse(transactionOf([put, putOfId(mapped.resource, 'id', '1', eventKey)], 'http://127.0.0.1/fhir'));
  for (const { id } of mapped.references) assert.ok(Number.isSafeInteger(id), 'It refers to what is no row.');
}

/** It goes into logs and dead letters: of what the row holds nothing may be in it. */
export function mustBeSentence(reason: string | undefined): void {
  assert.match(reason ?? '', /^[A-Za-z][^\p{Cc}]*[.]$/u);
  assert.ok(!reason?.includes(CANARY), `A value is repeated: ${reason?.slice(0, LONGEST_REASON)}`);
  assert.ok((reason?.length ?? 0) <= LONGEST_REASON, 'The reason is long.');
}

export const payloads: Surface = {
  name: 'payloads',
  open: async () =>
    opened(fc.tuple(columns, fc.constantFrom<Profile>('us-core', 'r4'), fc.boolean()), (input) =>
      holds(input as [Record<string, unknown>, Profile, boolean]),
    ),
};
