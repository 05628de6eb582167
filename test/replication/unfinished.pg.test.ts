// What is not finished is not acknowledged, whatever else comes through the slot meanwhile: heartbeats, others' commits, a reconnect.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HEARTBEAT_PREFIX } from '../../src/replication/stream/messages.ts';
import { type RunningConnector, startConnector } from '../support/connector.ts';
import { figureOf } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink, primaryValue } from '../support/fhir-sink.ts';
import { allProcessed, unprocessed } from '../support/outbox.ts';

const SOON = { timeout: 20_000 };

let database: TestDatabase;
let sink: FhirSink;
let connector: RunningConnector;

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
  connector = startConnector(database, sink.url, { timeoutMs: 60_000 });
  await streaming();
});

afterEach(async () => {
  await connector.stop();
  await database.drop();
  await sink.stop();
});

describe('a commit is not acknowledged', () => {
  it('before its PUT was answered, though heartbeats and other commits come after it', async () => {
    const { end, release } = await holdPut();
    await heartbeat();
    await deliverAnother();
    await positionTold();
    const early = await isAcknowledged(end);
    release();
    expect(early).toBe(false);
    await expect.poll(() => isAcknowledged(end), SOON).toBe(true);
  });

  it('before its record is committed', async () => {
    await insert('held');
    await allProcessed(database);
    // Whoever records the update needs the link's row, and waits.
    const blocker = await database.pool.connect();
    await blocker.query('BEGIN');
    await blocker.query('SELECT FROM fhir_link FOR UPDATE');
    await database.pool.query(`UPDATE patient SET name_family = 'Lovelace'`);
    const end = await walEnd();
    await expect.poll(recordsThatWait, SOON).toBe(1);
    await heartbeat();
    await positionTold();
    const early = await isAcknowledged(end);
    await blocker.query('ROLLBACK');
    blocker.release();
    expect(early).toBe(false);
    expect(sink.puts).toHaveLength(2);
    await expect.poll(() => isAcknowledged(end), SOON).toBe(true);
  });

  it('before its PUT was answered, though the connection was lost and made again meanwhile', async () => {
    const { end, release } = await holdPut();
    await database.pool.query(
      'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1',
      [connector.slot],
    );
    await expect.poll(() => figureOf(connector.metrics.reconnects), SOON).toBe(1);
    await streaming();
    await deliverAnother();
    await positionTold();
    const early = await isAcknowledged(end);
    release();
    expect(early).toBe(false);
    await expect.poll(() => isAcknowledged(end), SOON).toBe(true);
    expect(sink.values.toSorted()).toEqual(['another', 'held']);
  });
});

/** Commits a patient whose PUT is not answered until `release`; returns once it has arrived. `end` is behind the commit. */
async function holdPut(): Promise<{ end: string; release(): void }> {
  const arrived = Promise.withResolvers<void>();
  const { promise, resolve } = Promise.withResolvers<undefined>();
  sink.script((body) => {
    if (primaryValue(body) !== 'held') return undefined;
    arrived.resolve();
    return promise;
  });
  await insert('held');
  const end = await walEnd();
  await arrived.promise;
  return { end, release: () => resolve(undefined) };
}

/** One more than the connector's own. */
async function heartbeat(): Promise<void> {
  await database.pool.query('SELECT pg_logical_emit_message(false, $1, $2)', [HEARTBEAT_PREFIX, String(Date.now())]);
  // A transactional message is flushed with its commit, and so is what was written before it.
  await database.pool.query(`SELECT pg_logical_emit_message(true, 'flush', '')`);
}

async function deliverAnother(): Promise<void> {
  await insert('another');
  await expect.poll(() => unprocessed(database), SOON).toBe(1);
}

/** Resolves when the connector has told PostgreSQL its position once more from now on. */
async function positionTold(): Promise<void> {
  const { rows } = await database.pool.query<{ now: string }>('SELECT clock_timestamp()::text AS now');
  const told = async () => {
    const { rowCount } = await database.pool.query(
      `SELECT FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid
        WHERE s.slot_name = $1 AND r.reply_time > $2::timestamptz`,
      [connector.slot, rows[0]?.now],
    );
    return rowCount;
  };
  await expect.poll(told, SOON).toBe(1);
}

async function isAcknowledged(end: string): Promise<boolean | undefined> {
  const { rows } = await database.pool.query<{ passed: boolean }>(
    'SELECT confirmed_flush_lsn >= $1::pg_lsn AS passed FROM pg_replication_slots WHERE slot_name = $2',
    [end, connector.slot],
  );
  return rows[0]?.passed;
}

async function walEnd(): Promise<string> {
  const { rows } = await database.pool.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
  return rows[0]?.lsn ?? '';
}

async function streaming(): Promise<void> {
  await expect.poll(() => connector.metrics.connectorState.get(), SOON).toBe('streaming');
}

async function insert(value: string): Promise<void> {
  await database.pool.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', $1)`, [value]);
}

async function recordsThatWait(): Promise<number | null> {
  const { rowCount } = await database.pool.query(
    `SELECT FROM pg_stat_activity
      WHERE datname = $1 AND application_name = 'fhir-connector records' AND wait_event_type = 'Lock'`,
    [database.name],
  );
  return rowCount;
}
