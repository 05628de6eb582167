// Cleaning up in steps: what a slot may hand out again stays, each step is small, and a long history is not read.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeEach(async () => {
  db = await createDatabase();
});
afterEach(() => db.drop());

async function one(sql: string, values: unknown[] = []): Promise<Record<string, unknown>> {
  const { rows } = await db.pool.query(sql, values);
  return rows[0];
}

/** Processed so many days ago, with the current transaction id or the one given. Returns the ids. */
async function addOutboxRows(count: number, daysAgo: number, txid?: string): Promise<number[]> {
  const { rows } = await db.pool.query<{ id: number }>(
    `INSERT INTO fhir_outbox (txid, table_name, record_id, operation, payload_json, patient_revision, created_at, processed, processed_at)
     SELECT coalesce($3::bigint, pg_current_xact_id()::text::bigint), 'patient', n, 'U', '{"name_family": "of some length, as they are"}', n,
            now() - make_interval(days => $2), true, now() - make_interval(days => $2)
       FROM generate_series(1, $1) AS n RETURNING id::int`,
    [count, daysAgo, txid],
  );
  return rows.map(({ id }) => id);
}

async function outboxIds(): Promise<number[]> {
  const { rows } = await db.pool.query<{ id: number }>('SELECT id::int FROM fhir_outbox ORDER BY id');
  return rows.map(({ id }) => id);
}

describe('a row that the slot may hand out again', () => {
  const clean = () => one('SELECT outbox_rows::int FROM fhir_cleanup_old(30)');

  beforeEach(async () => {
    await db.pool.query(`SELECT pg_create_logical_replication_slot('${db.name}', 'pgoutput')`);
    await db.pool.query(`INSERT INTO fhir_slot (slot_name) VALUES ('${db.name}')`);
    await addOutboxRows(1, 40);
  });

  test('stays until the slot has confirmed it', async () => {
    expect(await clean()).toEqual({ outbox_rows: 0 });
    // What a checkpoint writes tells the slot which transactions had ended; confirming it needs no more than its position.
    await expect
      .poll(
        async () => {
          await db.pool.query('CHECKPOINT');
          await db.pool.query(
            `SELECT count(*) FROM pg_logical_slot_get_binary_changes('${db.name}', NULL, NULL, 'proto_version', '1', 'publication_names', 'fhir_outbox_pub')`,
          );
          return clean();
        },
        { timeout: 30_000 },
      )
      .toEqual({ outbox_rows: 1 });
  });

  test('goes with the slot', async () => {
    expect(await clean()).toEqual({ outbox_rows: 0 });
    await db.pool.query(`SELECT pg_drop_replication_slot('${db.name}')`);
    expect(await clean()).toEqual({ outbox_rows: 1 });
  });

  test('is none from before the database was moved here', async () => {
    const [foreign] = await addOutboxRows(1, 40, '900000000000');
    expect(await clean()).toEqual({ outbox_rows: 1 });
    expect(await outboxIds()).not.toContain(foreign);
  });
});

describe('fhir_cleanup_step', () => {
  test('goes on where the last one ended, passes what stays, and ends before what is young', async () => {
    const old = await addOutboxRows(25, 40);
    const young = await addOutboxRows(25, 2);
    const [unfinished = 0] = old;
    await db.pool.query('UPDATE fhir_outbox SET processed = false WHERE id = $1', [unfinished]);
    const removed: number[] = [];
    let from: unknown = 0;
    for (let step = 0; from !== null; step += 1) {
      expect(step).toBeLessThan(10);
      const result = await one('SELECT outbox_rows::int, next_outbox_id FROM fhir_cleanup_step(30, 10, $1, NULL)', [
        from,
      ]);
      removed.push(Number(result.outbox_rows));
      from = result.next_outbox_id;
    }
    // The fourth sees young rows only.
    expect(removed).toEqual([9, 10, 5, 0]);
    expect(await outboxIds()).toEqual([unfinished, ...young]);
  });

  test('removes processed events and resolved dead letters after three times the days', async () => {
    await db.pool.query(
      `INSERT INTO fhir_processed_event (event_key, processed_at)
       SELECT n::text, now() - CASE WHEN n <= 15 THEN interval '91 days' ELSE interval '89 days' END FROM generate_series(1, 40) AS n`,
    );
    await db.pool.query(
      `INSERT INTO fhir_dlq (resolved_at) SELECT now() - n * interval '40 days' FROM generate_series(1, 4) AS n;
       INSERT INTO fhir_dlq (first_failed_at) VALUES (now() - interval '900 days')`,
    );
    expect(
      await one('SELECT processed_events::int, next_event_id::int, dlq_rows::int FROM fhir_cleanup_step(30, 10, 0, 0)'),
    ).toEqual({ processed_events: 10, next_event_id: 11, dlq_rows: 2 });
    expect(await one('SELECT processed_events::int, dlq_rows::int FROM fhir_cleanup_old(30)')).toEqual({
      processed_events: 5,
      dlq_rows: 0,
    });
    expect(await one('SELECT count(*)::int AS n FROM fhir_dlq')).toEqual({ n: 3 });
  });

  test('beside 100,000 young rows looks at one batch', async () => {
    await addOutboxRows(100_000, 2);
    await db.pool.query(
      "INSERT INTO fhir_processed_event (event_key) SELECT 'Patient/' || n || '/1' FROM generate_series(1, 100000) AS n",
    );
    await db.pool.query('ANALYZE fhir_outbox, fhir_processed_event');
    const client = await db.pool.connect();
    const pagesOfAStep = async () => {
      const { rows } = await client.query(
        'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM fhir_cleanup_step(30, 1000, 0, 0)',
      );
      const plan = rows[0]['QUERY PLAN'][0].Plan;
      return plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
    };
    // The first one in a session also reads the catalogue.
    await pagesOfAStep();
    const pages = await pagesOfAStep();
    client.release();
    const { pages: all } = await one(
      "SELECT (pg_relation_size('fhir_outbox') + pg_relation_size('fhir_processed_event')) / 8192 AS pages",
    );
    expect(Number(all)).toBeGreaterThan(2000);
    expect(pages).toBeLessThan(500);
  });
});
