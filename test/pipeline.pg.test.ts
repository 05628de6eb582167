// Ends and losses at awkward moments: the pipeline stops when asked, whatever it waits for, and never for a lost connection.
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../demo/ports.ts';
import { startConnector } from './support/connector.ts';
import { figureOf } from './support/connector-state.ts';
import { createDatabase, type TestDatabase } from './support/database.ts';
import { FhirSink } from './support/fhir-sink.ts';
import { reply, serve } from './support/scripted-server.ts';

const QUICK = { timeout: 10_000 };

let database: TestDatabase;
let sink: FhirSink;

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
});

afterEach(async () => {
  await database.drop();
  await sink.stop();
});

describe('a FHIR server that says what it lacks', () => {
  it('is warned of by what the configuration needs, and worked with all the same', async () => {
    const server = await serve((_, response) =>
      reply(response, 200, {
        resourceType: 'CapabilityStatement',
        fhirVersion: '4.0.1',
        rest: [{ mode: 'server', resource: [{ type: 'Patient', interaction: [{ code: 'update' }] }] }],
      }),
    );
    const connector = startConnector(database, `${server.origin}/fhir`, { deletes: 'delete' });
    await expect.poll(() => connector.metrics.connectorState.get(), QUICK).toBe('streaming');
    expect(connector.log.map(({ msg }) => msg).filter((msg) => msg.startsWith('The FHIR server does not'))).toEqual([
      expect.stringContaining('does not offer to search Patient by identifier'),
      expect.stringContaining('does not offer to read Patient'),
      expect.stringContaining('FHIR_DELETE=deactivate'),
    ]);
    await connector.stop();
  });
});

describe('a start while the FHIR server is away', () => {
  it('tells so by its state, and no longer when it answers', async () => {
    await sink.stop();
    const connector = startConnector(database, sink.url);
    await expect.poll(() => connector.metrics.breakerState.get(), QUICK).toBe('outage');
    await sink.resume();
    await expect.poll(() => connector.metrics.connectorState.get(), QUICK).toBe('streaming');
    expect(connector.metrics.breakerState.get()).toBe('flowing');
    await connector.stop();
  });
});

describe('a stop', () => {
  it('ends the pipeline without an error while it waits for the FHIR server', async () => {
    const connector = startConnector(database, `http://127.0.0.1:${await freePort()}/fhir`);
    await expect.poll(() => connector.log.some(({ msg }) => msg.includes('does not answer yet')), QUICK).toBe(true);
    await connector.stop();
  });

  it('ends the pipeline without an error while it stands by', async () => {
    const holder = startConnector(database, sink.url);
    await expect.poll(() => holder.metrics.connectorState.get(), QUICK).toBe('streaming');
    const standby = startConnector(database, sink.url);
    await expect.poll(() => standby.metrics.connectorState.get(), QUICK).toBe('standby');
    await standby.stop();
    await holder.stop();
  });

  it('ends it while PostgreSQL makes the slot, which waits for the transactions of others', async () => {
    const other = new pg.Client(database.config);
    await other.connect();
    await other.query('BEGIN');
    await other.query('SELECT pg_current_xact_id()');
    const connector = startConnector(database, sink.url);
    await expect.poll(creatingSlot, QUICK).toBe(1);
    const stopped = connector.stop();
    await expect(Promise.race([stopped.then(() => 'stopped'), resolveAfter(5000, 'still running')])).resolves.toBe(
      'stopped',
    );
    await other.query('COMMIT');
    await other.end();
    await expect.poll(creatingSlot, QUICK).toBe(0);
  });

  it('ends it when it comes at the moment in which the slot is taken, though nothing is ever committed', async () => {
    const connector = startConnector(database, sink.url);
    await expect.poll(() => connector.metrics.connectorState.get(), QUICK).toBe('streaming');
    await connector.stop();
    // The second time the slot is only started: whichever moment the stop hits, it must be heard.
    for (let delay = 0; delay < 80; delay += 4) {
      const hit = startConnector(database, sink.url);
      await resolveAfter(delay, null);
      await expect(
        Promise.race([hit.stop().then(() => 'stopped'), resolveAfter(8000, `deaf at ${delay} ms`)]),
      ).resolves.toBe('stopped');
    }
  });

  it.each(['streaming', 'catching-up'])('ends it while a look-up waits for the database, %s', async (state) => {
    const insert = `INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', 'waits')`;
    const other = new pg.Client(database.config);
    await other.connect();
    const lock = async () => {
      await other.query('BEGIN');
      await other.query('LOCK TABLE fhir_link');
    };
    if (state === 'catching-up') {
      // The slot is there already: making it would wait for the lock's transaction.
      const before = startConnector(database, sink.url);
      await expect.poll(() => before.metrics.connectorState.get(), QUICK).toBe('streaming');
      await before.stop();
      await database.pool.query('UPDATE fhir_slot SET caught_up_at = NULL');
      await database.pool.query(insert);
      await lock();
    }
    const connector = startConnector(database, sink.url, { shutdownTimeoutMs: 500 });
    await expect.poll(() => connector.metrics.connectorState.get(), QUICK).toBe(state);
    if (state === 'streaming') {
      await lock();
      await database.pool.query(insert);
    }
    await expect.poll(lockWaiters, QUICK).toBe(1);
    const stopped = connector.stop();
    // A statement under way may take its lock_timeout of 5 seconds.
    await expect(Promise.race([stopped.then(() => 'stopped'), resolveAfter(9000, 'still running')])).resolves.toBe(
      'stopped',
    );
    await other.query('ROLLBACK');
    await other.end();
    expect(sink.puts).toEqual([]);
  });
});

describe('a lost connection', () => {
  it('is made again when only the replication connection was ended', async () => {
    const connector = startConnector(database, sink.url);
    await expect.poll(() => connector.metrics.connectorState.get(), QUICK).toBe('streaming');
    await database.pool.query(
      'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1',
      [connector.slot],
    );
    await expect.poll(() => figureOf(connector.metrics.reconnects), QUICK).toBe(1);
    await expect.poll(() => connector.metrics.connectorState.get(), QUICK).toBe('streaming');
    await database.pool.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', 'after')`);
    await expect.poll(() => sink.values.includes('after'), QUICK).toBe(true);
    await connector.stop();
  });
});

async function lockWaiters(): Promise<number | undefined> {
  const { rows } = await database.pool.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'`,
    [database.name],
  );
  return rows[0]?.n;
}

async function creatingSlot(): Promise<number | undefined> {
  const { rows } = await database.pool.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'CREATE_REPLICATION_SLOT%' AND state = 'active'`,
    [database.name],
  );
  return rows[0]?.n;
}

function resolveAfter<T>(ms: number, value: T): Promise<T> {
  return new Promise((resolve) => setTimeout(resolve, ms, value));
}
