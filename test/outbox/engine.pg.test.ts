// Deliveries while the slot changes hands and while places at the gate are scarce, on a real database and over real HTTP.
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFhirClient } from '../../src/fhir/client/create-client.ts';
import type { FhirClient } from '../../src/fhir/client/fhir-client.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import type { Holding } from '../../src/outbox/courier/slot-guard.ts';
import { type Delivery, deliveriesOf } from '../../src/outbox/delivery/delivery.ts';
import { parseEvent } from '../../src/outbox/delivery/event.ts';
import { kindOfTable } from '../../src/outbox/delivery/kinds.ts';
import { TransactionRows } from '../../src/outbox/delivery/transaction-rows.ts';
import { DeliveryEngine } from '../../src/outbox/engine.ts';
import { Completion } from '../../src/outbox/lanes/completion.ts';
import type { Database } from '../../src/outbox/tables/database.ts';
import { parseLsn } from '../../src/postgres/lsn.ts';
import { WHOLE } from '../../src/shard.ts';
import { createDatabase, kyselyOf, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';

const FOR_EVER = new AbortController().signal;

let database: TestDatabase;
let sink: FhirSink;
let fhir: FhirClient;
let db: Database;
let engine: DeliveryEngine;
/** Told of every statement of the connector when it has been answered. */
let onStatement: (sql: string) => Promise<void>;

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
  fhir = createFhirClient({ baseUrl: sink.url, concurrency: 4, timeoutMs: 5000, userAgent: 'test' }, () => undefined);
  onStatement = async () => undefined;
  db = kyselyOf(database, (sql) => onStatement(sql));
});

afterEach(async () => {
  await engine.stop(0);
  await fhir.close();
  await sink.stop();
  await db.destroy();
  await database.drop();
});

describe('a delivery that was looked up, or found new, when the slot was held before', () => {
  it('is looked up again when the slot went away and came back before it is sent', async () => {
    start(4);
    const before = lease();
    engine.hold({ lease: before, newAfter: parseLsn('0/1') });
    const [delivery] = await insertPatients('old');
    if (!delivery) throw new Error('One patient makes one delivery.');
    // A parked state is read again before it is sent: meanwhile another connector delivers a newer one.
    delivery.mapped = null;
    onStatement = async (sql) => {
      if (!sql.includes('SELECT id, payload_json')) return;
      onStatement = async () => undefined;
      before.valid = false;
      await link(delivery.sourceId, 'written-by-another', delivery.revision + 1);
      engine.hold({ lease: lease(), newAfter: parseLsn('0/9') });
    };
    await deliver([delivery]);
    expect(sink.puts).toEqual([]);
  });

  it('is not sent a second time, after a conflict, without the slot', async () => {
    start(4);
    const before = lease();
    engine.hold({ lease: before, newAfter: parseLsn('0/1') });
    const [delivery] = await insertPatients('old');
    if (!delivery) throw new Error('One patient makes one delivery.');
    await link(delivery.sourceId, 'r1', 0, '1');
    sink.script(async () => {
      sink.script(() => undefined);
      before.valid = false;
      return 412;
    });
    onStatement = async (sql) => {
      // The conflict made it ask whether it was overtaken: no. Then it is, and the slot comes back.
      if (!sql.includes('link.newer')) return;
      onStatement = async () => undefined;
      await link(delivery.sourceId, 'r1', delivery.revision + 1);
      engine.hold({ lease: lease(), newAfter: parseLsn('0/9') });
    };
    await deliver([delivery]);
    expect(sink.puts).toEqual([]);
  });
});

describe('a delivery that needs one more lane while it is sent', () => {
  it('gives its place at the gate to the one that it waits for', async () => {
    start(1);
    engine.hold({ lease: lease(), newAfter: null });
    const [inserted, second] = await insertPatients('moved', 'other');
    if (!inserted || !second) throw new Error('Two patients make two deliveries.');
    // As of an update that changed no identifier: it takes its patient's lane only.
    const first: Delivery = { ...inserted, previous: null };
    await link(first.sourceId, 'not-there-any-more', 0);
    // The second one carries the first one's identifier beside its own, so it holds that lane; it waits at the gate.
    second.mapped =
      kindOfTable('patient')?.map(
        {
          id: second.sourceId,
          identifier_system: 'urn:t',
          identifier_value: 'other',
          other_identifiers: [{ id: 1, identifier_system: 'urn:t', identifier_value: 'moved' }],
        },
        'us-core',
        false,
      ) ?? null;
    let puts = 0;
    sink.script(() => {
      puts += 1;
      return puts === 1 ? 404 : undefined;
    });
    const done = new Completion();
    await engine.scheduler.scheduleStored([[first, second]], done, FOR_EVER);
    await done.all();
    expect(sink.values).toContain('other');
  });
});

describe('the identifiers of a linked patient', () => {
  const identifiers = async () =>
    (await database.pool.query('SELECT value FROM fhir_link_identifier ORDER BY value')).rows.map(({ value }) => value);
  const change = async (column: string, value: string) => {
    await database.pool.query(`UPDATE patient SET ${column} = $1`, [value]);
    return (await deliveries()).slice(-1);
  };

  it('are recorded again when they change, or when the slot was taken anew, and otherwise not', async () => {
    start(4);
    engine.hold({ lease: lease(), newAfter: parseLsn('0/1') });
    await deliver(await insertPatients('first'));
    expect(await identifiers()).toEqual(['first']);
    await database.pool.query('DELETE FROM fhir_link_identifier');
    await deliver(await change('phone_number', '1'));
    expect(await identifiers()).toEqual([]);
    await deliver(await change('identifier_value', 'second'));
    expect(await identifiers()).toEqual(['second']);
    await database.pool.query('DELETE FROM fhir_link_identifier');
    engine.hold({ lease: lease(), newAfter: parseLsn('0/1') });
    await deliver(await change('phone_number', '2'));
    expect(await identifiers()).toEqual(['second']);
  });

  it('are recorded again after a dead letter, which may have added some', async () => {
    start(4);
    engine.hold({ lease: lease(), newAfter: parseLsn('0/1') });
    await deliver(await insertPatients('first'));
    sink.script(() => 422);
    await deliver(await change('phone_number', 'refused'));
    sink.script(() => undefined);
    await database.pool.query('DELETE FROM fhir_link_identifier');
    await deliver(await change('phone_number', '1'));
    expect(await identifiers()).toEqual(['first']);
  });
});

function start(concurrency: number): void {
  engine = new DeliveryEngine(
    db,
    fhir,
    WHOLE,
    { concurrency, batchSize: 1, maxRetries: 5, profile: 'us-core', update: 'by-id', deletes: 'deactivate' },
    createMetrics(),
    pino({ enabled: false }),
  );
}

function lease(): { valid: boolean; proven(): Promise<void> } & Holding['lease'] {
  return { valid: true, proven: () => new Promise(() => undefined) };
}

async function deliver(deliveries: readonly Delivery[]): Promise<void> {
  const rows = new TransactionRows();
  const transaction = { committedAt: new Date(), endLsn: parseLsn('0/5'), rows, deliveries };
  const { finished } = await engine.scheduler.schedule(transaction, FOR_EVER);
  await finished;
}

/** Deliveries as the slot would give them, of transactions that ended at 0/5. */
async function insertPatients(...values: string[]): Promise<Delivery[]> {
  for (const value of values)
    await database.pool.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', $1)`, [
      value,
    ]);
  return deliveries();
}

/** Of all rows that are in the outbox, each row's a delivery of its own. */
async function deliveries(): Promise<Delivery[]> {
  const { rows } = await database.pool.query('SELECT * FROM fhir_outbox ORDER BY id');
  return rows.flatMap((row) =>
    deliveriesOf([parseEvent(row)], { committedAt: null, endLsn: parseLsn('0/5') }, (kind, _, payload) =>
      kind.map(payload, 'us-core', false),
    ),
  );
}

async function link(sourceId: number, fhirId: string, revision: number, version: string | null = null): Promise<void> {
  await database.pool.query(
    `INSERT INTO fhir_link (resource_type, source_table, source_id, fhir_id, version_id, last_revision) VALUES ('Patient', 'patient', $1, $2, $4, $3)
     ON CONFLICT (source_table, source_id) DO UPDATE SET last_revision = EXCLUDED.last_revision`,
    [sourceId, fhirId, revision, version],
  );
}
