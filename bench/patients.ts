// Patients of a benchmark: inserted, updated in as many transactions as wanted, and waited for.
import { setTimeout as delay } from 'node:timers/promises';
import type { BenchDatabase } from './arena.ts';

const STUCK_MS = 60_000;

/** In one transaction, `count` patients with the identifiers `first`, `first` + 1, … */
export async function insertPatients({ pool }: BenchDatabase, count: number, first = 1): Promise<void> {
  await pool.query(
    `INSERT INTO patient (name_family, name_given, gender, birth_date, phone_number, address_line, address_city,
                          address_state, address_postal_code, address_country, identifier_system, identifier_value)
     SELECT 'Doe', 'Jane', 'female', '1990-01-15', '0', '1 Main Street', 'Boston', 'MA', '02101', 'US', 'urn:bench', n
       FROM generate_series($1::int, $1::int + $2::int - 1) AS n`,
    [first, count],
  );
}

/** `count` transactions, each of which updates one patient, round and round; the phone is `first`, `first` + 1, … */
export async function updateOneByOne(
  database: BenchDatabase,
  patients: number,
  count: number,
  first = 1,
): Promise<void> {
  await commitOneByOne(
    database,
    count,
    `UPDATE patient SET phone_number = ${first} + n - 1 WHERE id = (n - 1) % ${patients} + 1`,
  );
}

/**
 * The statement `count` times, each time in a transaction of its own; `n` in it is 1, 2, … Written without waiting for
 * the disk, for this is not what is measured.
 */
export async function commitOneByOne({ pool }: BenchDatabase, count: number, statement: string): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('SET synchronous_commit = off');
    await client.query(`DO $$ BEGIN
      FOR n IN 1 .. ${count} LOOP
        ${statement};
        COMMIT;
      END LOOP;
    END $$`);
    // A commit that waits puts all before it on the disk.
    await client.query('RESET synchronous_commit; CREATE TABLE IF NOT EXISTS flushed (); DROP TABLE flushed');
  } finally {
    client.release();
  }
}

/** As `updateOneByOne`, so many a second, each on the disk before the next one begins. */
export async function updateSteadily(
  { pool }: BenchDatabase,
  patients: number,
  count: number,
  rate: number,
): Promise<void> {
  // A sleep of less than nothing returns at once: who is late catches up.
  await pool.query(`DO $$
    DECLARE began timestamptz := clock_timestamp();
    BEGIN
      FOR n IN 1 .. ${count} LOOP
        UPDATE patient SET phone_number = n WHERE id = (n - 1) % ${patients} + 1;
        COMMIT;
        PERFORM pg_sleep(n::float8 / ${rate} - extract(epoch FROM clock_timestamp() - began));
      END LOOP;
    END $$`);
}

async function unprocessed({ pool }: BenchDatabase): Promise<number> {
  const { rows } = await pool.query<{ n: string }>('SELECT count(*) AS n FROM fhir_outbox WHERE NOT processed');
  return Number(rows[0]?.n);
}

/** Resolves when every outbox row is processed; gives up when nothing is finished for long. */
export async function allProcessed(database: BenchDatabase): Promise<void> {
  let least = Number.POSITIVE_INFINITY;
  let since = performance.now();
  for (;;) {
    const left = await unprocessed(database);
    if (left === 0) return;
    if (left < least) {
      least = left;
      since = performance.now();
    } else if (performance.now() - since > STUCK_MS) {
      throw new Error(`${left} outbox rows stay unprocessed.`);
    }
    await delay(left > 2000 ? 100 : 5);
  }
}
