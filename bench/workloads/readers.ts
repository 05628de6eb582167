// What a slot's reader costs the database server: the CPU of its walsender, which decodes the WAL of the whole server
// whatever it hands out. Per change that is delivered, with a publication of all rows and one of every fourth patient's;
// and per megabyte of what other tables write.
//
// The WAL of a change has all in it that the change entails: trigger, outbox row, and the connector's records.
import { slotOf } from '../../test/support/connector.ts';
import type { Arena, BenchDatabase } from '../arena.ts';
import { Connector } from '../connector.ts';
import { type Decoded, decoded } from '../decoded.ts';
import { allProcessed, commitOneByOne, insertPatients, updateOneByOne, updateSteadily } from '../patients.ts';
import { startReading } from '../reader.ts';
import { cpuSeconds } from '../usage.ts';
import { mark } from '../wal.ts';
import { linkPatients } from './drain.ts';

const PATIENTS = 2000;
const ALL = 'fhir_outbox_pub';
const QUARTER = 'bench_quarter';
const MB = 1e6;

export interface ReadersOptions {
  /** Of the backlog. */
  readonly changes: number;
  /** Of the changes that are read as they come, 1,000 a second. */
  readonly seconds: number;
  /** Transactions of one row that concern the connector nothing. */
  readonly otherTransactions: number;
  /** Rows of one such transaction. */
  readonly otherRows: number;
}

export interface Readers {
  /** CPU milliseconds of the walsender for each change of a backlog; the medians of three rounds, in turns. */
  readonly allCpuMs: number;
  readonly quarterCpuMs: number;
  /** Bytes of WAL for each of these changes. */
  readonly wal: number;
  /** WAL that a walsender goes through in a second of CPU time, in MB (10^6 bytes), in this backlog. */
  readonly mbPerCpuSecond: number;
  /** CPU milliseconds for each change that is read as it comes, 1,000 a second: of the connector's own walsender, and of a second one. */
  readonly liveAllCpuMs: number;
  readonly liveQuarterCpuMs: number;
  /** CPU milliseconds for each MB of WAL of other tables: of transactions of one row, and of one transaction of very many. */
  readonly otherSmallCpuMs: number;
  readonly otherLargeCpuMs: number;
  /** The same of transactions of one row in another database of the server. */
  readonly elsewhereCpuMs: number;
}

const LIVE_RATE = 1000;

export async function readers(arena: Arena, options: ReadersOptions): Promise<Readers> {
  const database = await arena.database();
  const elsewhere = await arena.database();
  const { pool } = database;
  arena.sink.configure({ latencyMs: 0 });
  try {
    await linkPatients(arena, database, PATIENTS);
    // As a shard's publication would be: with the columns of the connector's own.
    await pool.query(`DO $$ BEGIN
      EXECUTE (SELECT format('CREATE PUBLICATION ${QUARTER} FOR TABLE fhir_outbox (%s) WHERE (abs(coalesce(patient_id, 0) %% 4) = 0) WITH (publish = ''insert'')',
                             array_to_string(attnames, ', ')) FROM pg_publication_tables WHERE pubname = '${ALL}');
    END $$`);
    const { changes } = options;
    const backlog = await decoded(database, [ALL, QUARTER], async () => {
      const connector = Connector.start(database, arena.sink.url, 32);
      await connector.streaming();
      await updateOneByOne(database, PATIENTS, changes);
      await allProcessed(database);
      await connector.stop();
    });
    const [all, quarter] = backlog.reads;
    if (!all || !quarter || all.rows !== changes || quarter.rows !== changes / 4) {
      throw new Error(`The readers got ${all?.rows} and ${quarter?.rows} rows of ${changes} changes.`);
    }
    const live = await readAsTheyCome(arena, database, options.seconds);
    const { otherTransactions } = options;
    await withoutTrigger(database);
    const small = await decoded(database, [ALL], () => updateOneByOne(database, PATIENTS, otherTransactions));
    await insertPatients(elsewhere, PATIENTS);
    await withoutTrigger(elsewhere);
    const there = await decoded(database, [ALL], () => updateOneByOne(elsewhere, PATIENTS, otherTransactions));
    await pool.query('CREATE TABLE other (id integer, filler text)');
    const large = await decoded(database, [ALL], () =>
      commitOneByOne(
        database,
        1,
        `INSERT INTO other SELECT i, repeat('x', 200) FROM generate_series(1, ${options.otherRows}) AS i`,
      ),
    );
    const perMB = ({ wal, reads }: Decoded) => ((reads[0]?.cpuSeconds ?? Number.NaN) * 1000) / (wal / MB);
    return {
      allCpuMs: (all.cpuSeconds * 1000) / changes,
      quarterCpuMs: (quarter.cpuSeconds * 1000) / changes,
      wal: backlog.wal / changes,
      mbPerCpuSecond: backlog.wal / MB / all.cpuSeconds,
      ...live,
      otherSmallCpuMs: perMB(small),
      otherLargeCpuMs: perMB(large),
      elsewhereCpuMs: perMB(there),
    };
  } finally {
    await elsewhere.drop();
    await database.drop();
  }
}

/** What is changed then concerns the connector nothing. */
async function withoutTrigger({ pool }: BenchDatabase): Promise<void> {
  await pool.query('ALTER TABLE patient DISABLE TRIGGER fhir_patient_update');
}

/** The connector delivers meanwhile, and a second reader with every fourth patient looks on. */
async function readAsTheyCome(
  arena: Arena,
  database: BenchDatabase,
  seconds: number,
): Promise<Pick<Readers, 'liveAllCpuMs' | 'liveQuarterCpuMs'>> {
  const { pool } = database;
  const slot = `bench_live_${database.name}`;
  const connector = Connector.start(database, arena.sink.url, 32);
  try {
    await connector.streaming();
    await pool.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
    const { rows } = await pool.query<{ pid: number }>(
      'SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1',
      [slotOf(database)],
    );
    const pid = rows[0]?.pid;
    if (!pid) throw new Error('The connector does not hold its slot.');
    const changes = LIVE_RATE * seconds;
    const { done } = await startReading(database, { slot, publication: QUARTER, until: slot, acknowledge: true });
    const before = cpuSeconds(pid);
    await updateSteadily(database, PATIENTS, changes, LIVE_RATE);
    await allProcessed(database);
    const all = cpuSeconds(pid) - before;
    await mark(database, slot);
    const quarter = await done;
    return { liveAllCpuMs: (all * 1000) / changes, liveQuarterCpuMs: (quarter.cpuSeconds * 1000) / changes };
  } finally {
    await connector.stop();
  }
}
