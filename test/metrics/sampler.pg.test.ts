// The sampler against a real PostgreSQL: the backlog, the dead letters, and a slot in the states that it can be in.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { createSampler } from '../../src/metrics/sampler.ts';
import { WHOLE } from '../../src/shard.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { parseExposition } from './exposition.ts';

function sample(pool: pg.Pool, slotName: string) {
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  const lines: string[] = [];
  const log = {
    info: (...parts: unknown[]) => lines.push(`info ${parts.at(-1)}`),
    warn: (...parts: unknown[]) => lines.push(`warn ${parts.at(-1)}`),
  };
  const metrics = createMetrics();
  const gauge = async (name: string) => {
    const { samples } = parseExposition(await metrics.registry.metrics());
    return samples.find((each) => each.name === name)?.value;
  };
  return { ...createSampler(db, slotName, WHOLE, metrics, log), metrics, gauge, lines };
}

describe('the sampler', () => {
  let database: TestDatabase;
  let slotName: string;

  beforeEach(async () => {
    database = await createDatabase();
    slotName = `slot_of_${database.name}`;
  });
  afterEach(() => database.drop());

  const createSlot = () => database.pool.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slotName]);

  /** A change that waits in the outbox, older than it is. */
  const addPatient = async (identifier: string, age: string) => {
    await database.pool.query("INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:test', $1)", [
      identifier,
    ]);
    await database.pool.query('UPDATE fhir_outbox SET created_at = now() - $1::interval WHERE identifier_value = $2', [
      age,
      identifier,
    ]);
  };

  test('counts what waits in the outbox and tells the age of its oldest row', async () => {
    const { sampleOnce, gauge } = sample(database.pool, slotName);
    await sampleOnce();
    expect([await gauge('fhir_outbox_unprocessed_count'), await gauge('fhir_outbox_lag_seconds')]).toEqual([0, 0]);

    await addPatient('one', '90 seconds');
    await addPatient('two', '30 seconds');
    await sampleOnce();
    expect(await gauge('fhir_outbox_unprocessed_count')).toBe(2);
    expect(await gauge('fhir_outbox_lag_seconds')).toBeGreaterThanOrEqual(90);
    expect(await gauge('fhir_outbox_lag_seconds')).toBeLessThan(120);

    await database.pool.query("UPDATE fhir_outbox SET processed = true WHERE identifier_value = 'one'");
    await sampleOnce();
    expect(await gauge('fhir_outbox_unprocessed_count')).toBe(1);
    expect(await gauge('fhir_outbox_lag_seconds')).toBeLessThan(60);
  });

  test('counts the dead letters that nobody has resolved', async () => {
    const { sampleOnce, gauge } = sample(database.pool, slotName);
    await addPatient('one', '1 second');
    await addPatient('two', '1 second');
    await database.pool.query("SELECT fhir_move_outbox_to_dlq(id, 'refused') FROM fhir_outbox");
    await sampleOnce();
    expect(await gauge('fhir_dlq_total')).toBe(2);
    expect(await gauge('fhir_outbox_unprocessed_count')).toBe(0);

    await database.pool.query("UPDATE fhir_dlq SET first_failed_at = now() - interval '1 hour'");
    await sampleOnce();
    expect(await gauge('fhir_dlq_oldest_seconds')).toBeGreaterThanOrEqual(3600);

    await database.pool.query("UPDATE fhir_dlq SET resolved_at = now(), resolution = 'discarded'");
    await sampleOnce();
    expect([await gauge('fhir_dlq_total'), await gauge('fhir_dlq_oldest_seconds')]).toEqual([0, 0]);
  });

  test('counts the triggers that are missing, disabled, or fire for a replica only', async () => {
    const { sampleOnce, gauge } = sample(database.pool, slotName);
    await sampleOnce();
    expect(await gauge('fhir_triggers_off')).toBe(0);
    await database.pool.query('ALTER TABLE patient ENABLE ALWAYS TRIGGER fhir_patient_insert');
    await sampleOnce();
    expect(await gauge('fhir_triggers_off')).toBe(0);
    await database.pool.query('ALTER TABLE patient DISABLE TRIGGER fhir_patient_update');
    await database.pool.query('ALTER TABLE patient ENABLE REPLICA TRIGGER fhir_patient_delete');
    await database.pool.query('DROP TRIGGER fhir_other_identifier_insert ON patient_other_identifiers');
    await sampleOnce();
    expect(await gauge('fhir_triggers_off')).toBe(3);
  });

  test('says that triggers are off: at the start, and whenever there are more', async () => {
    const { sampleOnce, lines } = sample(database.pool, slotName);
    const one = 'warn 1 trigger is missing or disabled: what it would write is not seen. doctor names it.';
    const two = 'warn 2 triggers are missing or disabled: what they would write is not seen. doctor names them.';
    await database.pool.query('ALTER TABLE patient DISABLE TRIGGER fhir_patient_update');
    await sampleOnce();
    await sampleOnce();
    expect(lines).toEqual([one]);
    await database.pool.query('ALTER TABLE patient DISABLE TRIGGER fhir_patient_delete');
    await sampleOnce();
    await sampleOnce();
    expect(lines).toEqual([one, two]);
    await database.pool.query('ALTER TABLE patient ENABLE TRIGGER USER');
    await sampleOnce();
    await database.pool.query('ALTER TABLE patient DISABLE TRIGGER fhir_patient_delete');
    await sampleOnce();
    expect(lines).toEqual([one, two, one]);
  });

  test('tells for how long PostgreSQL has not told all, while a lock keeps it from the outbox', async () => {
    const { sampleOnce, gauge, metrics, lines } = sample(database.pool, slotName);
    await createSlot();
    await sampleOnce();
    const holder = await database.pool.connect();
    try {
      await holder.query('BEGIN; LOCK TABLE fhir_outbox');
      const before = (await gauge('fhir_database_age_seconds')) ?? Number.NaN;
      await sampleOnce();
      // As long as it may take, at the least, and on from the time before.
      expect(await gauge('fhir_database_age_seconds')).toBeGreaterThan(before + 1);
      expect(metrics.slotState.get()).toBe('reserved');
      expect(lines).toEqual([expect.stringMatching(/^warn .*the gauges keep their last values/)]);
      await holder.query('ROLLBACK');
    } finally {
      holder.release();
    }
    const locked = (await gauge('fhir_database_age_seconds')) ?? Number.NaN;
    await sampleOnce();
    expect(await gauge('fhir_database_age_seconds')).toBeLessThan(locked);
  });

  test('tells a missing slot, then one that nobody holds, and how far it is behind', async () => {
    const { sampleOnce, gauge, metrics } = sample(database.pool, slotName);
    await sampleOnce();
    expect(metrics.slotState.get()).toBe('missing');

    await createSlot();
    await database.pool.query("SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000000))");
    await sampleOnce();
    expect(metrics.slotState.get()).toBe('reserved');
    expect(await gauge('fhir_slot_active')).toBe(0);
    expect(await gauge('fhir_slot_confirmed_lag_bytes')).toBeGreaterThan(1_000_000);
    expect(await gauge('fhir_slot_retained_bytes')).toBeGreaterThan(1_000_000);
    // No max_slot_wal_keep_size on this server: there is no limit to run into.
    expect(await gauge('fhir_slot_safe_wal_bytes')).toBeNaN();
  });

  test('tells that somebody holds the slot', async () => {
    const { sampleOnce, gauge } = sample(database.pool, slotName);
    await createSlot();
    const holder = new pg.Client({ ...database.config, replication: 'database' } as pg.ClientConfig);
    holder.on('error', () => undefined);
    await holder.connect();
    const streaming = holder
      .query(`START_REPLICATION SLOT ${slotName} LOGICAL 0/0 (proto_version '1', publication_names 'fhir_outbox_pub')`)
      .catch(() => undefined);
    const active = async () => {
      await sampleOnce();
      return gauge('fhir_slot_active');
    };
    await expect.poll(active).toBe(1);
    await database.pool.query(
      'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1',
      [slotName],
    );
    await expect.poll(active).toBe(0);
    await streaming;
  });

  test('still tells the slot while the outbox cannot be read in time, and says so once', async () => {
    const { sampleOnce, gauge, metrics, lines } = sample(database.pool, slotName);
    await createSlot();
    await addPatient('one', '1 second');
    await sampleOnce();
    metrics.slotState.set('unknown');

    const locker = await database.pool.connect();
    await locker.query('BEGIN; LOCK TABLE fhir_outbox IN ACCESS EXCLUSIVE MODE');
    await sampleOnce();
    await sampleOnce();
    expect(metrics.slotState.get()).toBe('reserved');
    expect(await gauge('fhir_outbox_unprocessed_count')).toBe(1);
    expect(lines).toEqual([expect.stringMatching(/^warn .*did not answer/)]);

    await locker.query('ROLLBACK');
    locker.release();
    await sampleOnce();
    await sampleOnce();
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatch(/^info .*answers the gauge queries again/);
  });

  test('leaves no time-out behind on the connections that it borrowed', async () => {
    const pool = new pg.Pool({ ...database.config, max: 1 });
    await sample(pool, slotName).sampleOnce();
    const { rows } = await pool.query('SHOW statement_timeout');
    expect(rows).toEqual([{ statement_timeout: '0' }]);
    await pool.end();
  });
});

// A server of its own: the limit would cost other tests their slots.
describe('the sampler on a server that limits the WAL it keeps', () => {
  test('tells the room that is left, the lost slot, and the slot of a server in recovery', async () => {
    const server = await startEmbeddedPostgres({ fsync: false, settings: { max_slot_wal_keep_size: '16MB' } });
    const { host, port, user, password } = server;
    const pool = new pg.Pool({ host, port, user, password, database: 'postgres' });
    pool.on('error', () => undefined);
    try {
      const { sampleOnce, gauge, metrics } = sample(pool, 'a_slot');
      await pool.query("SELECT pg_create_logical_replication_slot('a_slot', 'pgoutput')");
      await sampleOnce();
      expect(metrics.slotState.get()).toBe('reserved');
      const room = await gauge('fhir_slot_safe_wal_bytes');
      expect(room).toBeGreaterThan(1_000_000);

      await pool.query("SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000000))");
      await sampleOnce();
      expect(await gauge('fhir_slot_safe_wal_bytes')).toBeLessThan((room ?? 0) - 1_000_000);

      await server.pause('fast');
      await sampleOnce();
      expect(metrics.slotState.get()).toBe('unknown');
      const retained = await gauge('fhir_slot_retained_bytes');
      expect(retained).toBeGreaterThan(1_000_000);

      // https://www.postgresql.org/docs/current/runtime-config-wal.html#RUNTIME-CONFIG-WAL-ARCHIVE-RECOVERY
      await writeFile(join(server.dataDir, 'standby.signal'), '');
      await server.start();
      expect((await pool.query('SELECT pg_is_in_recovery() AS recovering')).rows).toEqual([{ recovering: true }]);
      await sampleOnce();
      expect(metrics.slotState.get()).toBe('reserved');
      expect(await gauge('fhir_slot_retained_bytes')).toBeGreaterThanOrEqual(retained ?? Number.NaN);

      await pool.query('SELECT pg_promote()');
      for (let segment = 0; segment < 4; segment += 1)
        await pool.query("SELECT pg_logical_emit_message(true, 'test', 'x'), pg_switch_wal()");
      await pool.query('CHECKPOINT');
      await sampleOnce();
      expect(metrics.slotState.get()).toBe('lost');
      expect(await gauge('fhir_slot_safe_wal_bytes')).toBe(0);
      expect(await gauge('fhir_slot_retained_bytes')).toBe(0);
    } finally {
      await pool.end();
      await server.stop('immediate');
    }
  });
});
