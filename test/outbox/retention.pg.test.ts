// Retention in the running connector: who holds the slot removes what is finished and old, and delivery never notices.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ConnectorOptions, type RunningConnector, slotOf, startConnector } from '../support/connector.ts';
import { figureOf, streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { allProcessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { addPatient } from '../support/patients.ts';

const CLEANED = 'Cleaned up what was finished and old.';

let database: TestDatabase;
let sink: FhirSink;
const running: RunningConnector[] = [];

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
});

afterEach(async () => {
  await Promise.all(running.splice(0).map((connector) => connector.stop()));
  await database.drop();
  await sink.stop();
});

function start(options: ConnectorOptions): RunningConnector {
  const connector = startConnector(database, sink.url, options);
  running.push(connector);
  return connector;
}

/** A connector that keeps everything and has delivered these patients; all it knows of them is made 400 days old. */
async function deliverLongAgo(...identifiers: string[]): Promise<RunningConnector> {
  const connector = start({ retentionDays: 0 });
  await streaming(connector);
  for (const identifier of identifiers) await addPatient(database, identifier);
  await allProcessed(database);
  await database.pool.query(
    `UPDATE fhir_outbox SET created_at = created_at - interval '400 days', processed_at = processed_at - interval '400 days' WHERE processed;
     UPDATE fhir_processed_event SET processed_at = processed_at - interval '400 days'`,
  );
  return connector;
}

/** After 400 days the slot would have confirmed that these transactions had ended; a checkpoint tells it at once. */
async function confirmed(): Promise<void> {
  await expect
    .poll(async () => {
      await database.pool.query('CHECKPOINT');
      const { rows } = await database.pool.query(
        `SELECT catalog_xmin::text::bigint > (SELECT max(txid) FROM fhir_outbox) AS past FROM pg_replication_slots WHERE slot_name = $1`,
        [slotOf(database)],
      );
      return rows[0]?.past;
    }, PATIENCE)
    .toBe(true);
}

async function counts() {
  const { rows } = await database.pool.query(
    `SELECT (SELECT count(*)::int FROM fhir_outbox) AS outbox, (SELECT count(*)::int FROM fhir_processed_event) AS events,
            (SELECT count(*)::int FROM fhir_dlq) AS "deadLetters"`,
  );
  return rows[0];
}

describe('a connector with RETENTION_DAYS', () => {
  it('cleans up when it takes the slot, not while it stands by, and says what it removed', async () => {
    const holder = await deliverLongAgo('A', 'B', 'C');
    // Of a patient without identifier: a dead letter that nobody has resolved.
    await addPatient(database, null);
    await allProcessed(database);
    await database.pool.query("UPDATE fhir_dlq SET first_failed_at = now() - interval '400 days'");
    await confirmed();
    const standby = start({ retentionDays: 30 });
    await expect.poll(() => standby.metrics.connectorState.get(), PATIENCE).toBe('standby');
    expect(await counts()).toEqual({ outbox: 4, events: 4, deadLetters: 1 });

    await holder.stop();
    await expect
      .poll(() => standby.log.find(({ msg }) => msg === CLEANED), PATIENCE)
      .toMatchObject({
        days: 30,
        outboxRows: 3,
        processedEvents: 3,
        deadLetters: 0,
      });
    expect(await counts()).toEqual({ outbox: 1, events: 1, deadLetters: 1 });
    const { values } = await standby.metrics.removedByCleanUp.get();
    expect(Object.fromEntries(values.map(({ labels, value }) => [labels.table, value]))).toEqual({
      fhir_outbox: 3,
      fhir_processed_event: 3,
      fhir_dlq: 0,
    });
    expect(holder.log.some(({ msg }) => msg === CLEANED)).toBe(false);
  });

  it('delivers all the same when the clean-up fails, which is told and counted', async () => {
    await database.pool.query('DROP FUNCTION fhir_cleanup_step');
    const connector = start({ retentionDays: 30 });
    await streaming(connector);
    await addPatient(database, 'DELIVERED');
    await allProcessed(database);
    expect(sink.putsOf('DELIVERED')).toHaveLength(1);
    await expect
      .poll(() => connector.log.find(({ msg }) => msg.startsWith('The clean-up failed')), PATIENCE)
      .toMatchObject({ code: '42883' });
    expect(await figureOf(connector.metrics.cleanUpFailures)).toBe(1);
  });
});

describe('an event that is sent again when its outbox row and its processed event are gone', () => {
  it('is recognised by the link, and not sent to the FHIR server again', async () => {
    const first = start({ retentionDays: 0 });
    await streaming(first);
    const slot = slotOf(database);
    await database.pool.query(`SELECT pg_copy_logical_replication_slot('${slot}', '${slot}_copy')`);
    const patient = await addPatient(database, 'ONCE');
    await allProcessed(database);
    await first.stop();
    await database.pool.query('TRUNCATE fhir_outbox, fhir_processed_event');
    // Back to where the slot stood before the patient.
    await database.pool.query(`SELECT pg_drop_replication_slot('${slot}')`);
    await database.pool.query(`SELECT pg_copy_logical_replication_slot('${slot}_copy', '${slot}')`);
    const second = start({ retentionDays: 0 });
    await expect
      .poll(() => second.log.find(({ msg }) => msg === 'superseded'), PATIENCE)
      .toMatchObject({
        eventKey: `Patient/${patient}/1`,
      });
    expect(sink.putsOf('ONCE')).toHaveLength(1);
  });
});
