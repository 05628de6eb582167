// The connector's statements are planned once a second: a plan that was made for a small table does not outlive it for long.
import { sql } from 'kysely';
import pino from 'pino';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Database, openDatabase } from '../../src/outbox/tables/database.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let db: Database;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  database = await createDatabase();
  db = openDatabase(database.config, pino({ enabled: false }));
});

afterEach(async () => {
  vi.useRealTimers();
  await db.destroy();
  await database.drop();
});

const insert = (from: number, to: number) =>
  database.pool.query(
    `INSERT INTO fhir_processed_event (event_key) SELECT 'Patient/' || n || '/1' FROM generate_series(${from}, ${to}) AS n`,
  );

it('a statement that was planned for a small table is planned anew when the table has grown', async () => {
  await insert(1, 10);
  await database.pool.query('VACUUM ANALYZE fhir_processed_event');
  await db.connection().execute(async (connection) => {
    const ask = (key: string) => sql`SELECT FROM fhir_processed_event WHERE event_key = ${key}`.execute(connection);
    const plan = async () => {
      const prepared = await sql<{ name: string }>`
        SELECT name FROM pg_prepared_statements WHERE statement LIKE '%FROM fhir_processed_event WHERE%'`.execute(
        connection,
      );
      expect(prepared.rows).toHaveLength(1);
      const explained = await sql<{ 'QUERY PLAN': string }>`
        EXPLAIN EXECUTE ${sql.id(prepared.rows[0]?.name ?? '')}('Patient/1/1')`.execute(connection);
      return explained.rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    await ask('Patient/1/1');
    expect(await plan()).toMatch(/^Seq Scan/);
    await insert(11, 100_000);
    vi.advanceTimersByTime(2000);
    await ask('Patient/1/1');
    expect(await plan()).toMatch(/^Index Only Scan|^Index Scan/);
  });
});
