// What looking after it costs beside very many processed rows: the gauges, `status`, the clean-up, and what vacuum leaves.
import { execFile } from 'node:child_process';
import { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { Kysely, PostgresDialect } from 'kysely';
import pino from 'pino';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { createSampler } from '../../src/metrics/sampler.ts';
import { openDatabase } from '../../src/outbox/tables/database.ts';
import { Retention } from '../../src/outbox/upkeep/retention.ts';
import { WHOLE } from '../../src/shard.ts';
import { connectorEnvironment, slotOf } from '../../test/support/connector.ts';
import type { Arena, BenchDatabase } from '../arena.ts';
import { Connector } from '../connector.ts';
import { allProcessed, insertPatients } from '../patients.ts';
import { median } from '../statistics.ts';
import { walOf } from '../wal.ts';

const run = promisify(execFile);

const RETENTION_DAYS = 90;
const SAMPLES = 20;
const STATUS_RUNS = 3;
const silent = pino({ level: 'silent' });

export interface UpkeepOptions {
  /** Processed ones. */
  readonly rows: number;
  /** Of these, past the retention. */
  readonly old: number;
  /** Rows that wait beside them. */
  readonly waiting: number;
}

export interface Upkeep {
  /** One round of all gauges that PostgreSQL is asked for, in milliseconds, and the pending view; the middle one of 20. */
  readonly gaugesMs: number;
  readonly pendingMs: number;
  /** `status` as a command, from its start to its end. */
  readonly statusSeconds: number;
  /** Old outbox rows that the hourly clean-up removes a second, each with a processed event, its pauses included. */
  readonly removedPerSecond: number;
  /** Bytes of WAL for each of these. */
  readonly removalWal: number;
  /** A clean-up that finds nothing old, in milliseconds. */
  readonly idleCleanUpMs: number;
  /** VACUUM of both tables afterwards. */
  readonly vacuumSeconds: number;
  /** Of both tables before; and after as many rows were added as had been removed, in MB (10^6 bytes). */
  readonly beforeMB: number;
  readonly refilledMB: number;
}

export async function upkeep(arena: Arena, { rows, old, waiting }: UpkeepOptions): Promise<Upkeep> {
  const database = await arena.database();
  const { pool } = database;
  arena.sink.configure({ latencyMs: 0 });
  let connector: Connector | undefined;
  try {
    await insertPatients(database, 1);
    await addProcessed(database, old, 4 * RETENTION_DAYS);
    await addProcessed(database, rows - old, 1);
    await insertPatients(database, waiting, 2);
    await pool.query('VACUUM (ANALYZE)');
    const beforeMB = await sizeMB(database);

    const metrics = createMetrics();
    const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
    const { sampleOnce } = createSampler(db, slotOf(database), WHOLE, metrics, silent);
    const gaugesMs = await middleMs(SAMPLES, sampleOnce);
    const { values } = await metrics.outboxUnprocessed.get();
    if (values[0]?.value !== waiting + 1) throw new Error(`The gauges say ${values[0]?.value}, not ${waiting + 1}.`);
    const pendingMs = await middleMs(SAMPLES, () => pool.query('SELECT count(*) FROM vw_fhir_pending_txids'));

    connector = Connector.start(database, arena.sink.url, 32);
    await connector.streaming();
    await allProcessed(database);
    const environment = { PATH: process.env.PATH, ...connectorEnvironment(database, arena.sink.url) };
    const statusMs = await middleMs(STATUS_RUNS, () =>
      run(process.execPath, ['src/main.ts', 'status'], { env: environment }),
    );
    await connector.stop();
    connector = undefined;

    let removal = { removed: 0, seconds: 0 };
    const wal = await walOf(database, async () => {
      removal = await cleanUp(database);
    });
    if (removal.removed !== old) throw new Error(`The clean-up removed ${removal.removed} rows, not ${old}.`);
    const idle = await cleanUp(database);
    const startedAt = performance.now();
    await pool.query('VACUUM fhir_outbox, fhir_processed_event');
    const vacuumSeconds = (performance.now() - startedAt) / 1000;
    await addProcessed(database, old, 1);
    return {
      gaugesMs,
      pendingMs,
      statusSeconds: statusMs / 1000,
      removedPerSecond: removal.removed / removal.seconds,
      removalWal: wal / removal.removed,
      idleCleanUpMs: idle.seconds * 1000,
      vacuumSeconds,
      beforeMB,
      refilledMB: await sizeMB(database),
    };
  } finally {
    await connector?.stop();
    await database.drop();
  }
}

/** Rows as the delivery of the newest patient would leave them, with a transaction id that every slot has confirmed. */
async function addProcessed({ pool }: BenchDatabase, count: number, daysAgo: number): Promise<void> {
  const times = `now() - make_interval(days => ${daysAgo})`;
  await pool.query(
    `INSERT INTO fhir_outbox (txid, table_name, record_id, operation, payload_json, patient_id, identifier_system, identifier_value,
                              patient_revision, created_at, processed, processed_at, fhir_resource_id, fhir_version)
     SELECT 3, table_name, record_id, 'U', payload_json, patient_id, identifier_system, identifier_value,
            n, ${times}, true, ${times}, 'p1', n::text
       FROM (SELECT * FROM fhir_outbox WHERE identifier_value = '1' ORDER BY id LIMIT 1) AS one, generate_series(1, ${count}) AS n`,
  );
  await pool.query(
    `INSERT INTO fhir_processed_event (event_key, processed_at)
     SELECT 'Patient/' || n || '/${daysAgo}' || clock_timestamp()::time, now() - make_interval(days => 3 * ${daysAgo}) FROM generate_series(1, ${count}) AS n`,
  );
}

/** As the connector does it, up to what it logs at the end. */
async function cleanUp({ config }: BenchDatabase): Promise<{ removed: number; seconds: number }> {
  const stop = new AbortController();
  const ended = Promise.withResolvers<{ level: number; outboxRows?: number }>();
  const log = pino(
    new Writable({
      write(line: Buffer, _, done) {
        ended.resolve(JSON.parse(line.toString()));
        done();
      },
    }),
  );
  const db = openDatabase(config, silent);
  try {
    const startedAt = performance.now();
    const running = new Retention(db, RETENTION_DAYS, createMetrics(), log).run(stop.signal);
    const { outboxRows } = await ended.promise;
    const seconds = (performance.now() - startedAt) / 1000;
    stop.abort();
    await running;
    if (outboxRows === undefined) throw new Error('The clean-up failed.');
    return { removed: outboxRows, seconds };
  } finally {
    await db.destroy();
  }
}

async function middleMs(times: number, work: () => Promise<unknown>): Promise<number> {
  const samples: number[] = [];
  for (let n = 0; n < times; n += 1) {
    const startedAt = performance.now();
    await work();
    samples.push(performance.now() - startedAt);
  }
  return median(samples);
}

async function sizeMB({ pool }: BenchDatabase): Promise<number> {
  const { rows } = await pool.query<{ bytes: string }>(
    "SELECT pg_total_relation_size('fhir_outbox') + pg_total_relation_size('fhir_processed_event') AS bytes",
  );
  return Number(rows[0]?.bytes) / 1e6;
}
