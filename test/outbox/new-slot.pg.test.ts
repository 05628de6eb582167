// Making a slot takes as long as the transactions that are open: what they commit meanwhile the slot does not send.
import { expect, it, onTestFinished } from 'vitest';
import { startConnector } from '../support/connector.ts';
import { figureOf } from '../support/connector-state.ts';
import { createDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { allProcessed } from '../support/outbox.ts';

const SOON = { timeout: 20_000 };

it('what is committed while the slot is made is caught up with, and not left to the sweep', async () => {
  const database = await createDatabase();
  const sink = await FhirSink.start();
  const writer = await database.pool.connect();
  await writer.query('BEGIN');
  await writer.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', 'meanwhile')`);
  const connector = startConnector(database, sink.url);
  onTestFinished(async () => {
    await connector.stop();
    await database.drop();
    await sink.stop();
  });
  const creatingSlot = async () =>
    (
      await database.pool.query(
        `SELECT FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'CREATE_REPLICATION_SLOT%' AND wait_event_type = 'Lock'`,
        [database.name],
      )
    ).rowCount;
  await expect.poll(creatingSlot, SOON).toBe(1);
  await writer.query('COMMIT');
  writer.release();

  await allProcessed(database);
  expect(sink.values).toEqual(['meanwhile']);
  expect(await figureOf(connector.metrics.skippedRows)).toBe(0);
});
