// What a change of a patient leaves behind: WAL, in steady state and right after a checkpoint, rows that stay, and the CPU
// time of PostgreSQL. Alone, with the triggers, and delivered.
//
// The first change of a page after a checkpoint writes the whole page. There every change meets pages that none has met before,
// as in a large table most do; the steady ones meet pages that have been written. Nothing is vacuumed but where that is measured.
// https://www.postgresql.org/docs/current/wal-configuration.html
import type { Arena, BenchDatabase } from '../arena.ts';
import { Connector } from '../connector.ts';
import { allProcessed, commitOneByOne } from '../patients.ts';
import { walOf } from '../wal.ts';
import { linkPatients } from './drain.ts';

const KEPT = ['fhir_outbox', 'fhir_processed_event'] as const;
const TABLES = ['patient', 'fhir_link', 'fhir_patient_revision', ...KEPT];
/** Between patients that are changed: more than the rows of any table and index here that fit on a page of 8 kB. */
const APART = 500;

export interface BytesOptions {
  readonly patients: number;
  /** In steady state, after as many that do not count. */
  readonly changes: number;
  /** Between two vacuums. */
  readonly batch: number;
  readonly batches: number;
}

/** For each change: one patient's UPDATE in a transaction of its own. */
interface Written {
  /** Bytes. */
  readonly wal: number;
  /** Bytes, each change the first one of its pages since the checkpoint and ever. */
  readonly walAfterCheckpoint: number;
  /** Milliseconds, of all of PostgreSQL's processes, without what a client's statement costs to receive and plan. */
  readonly cpuMs: number;
}

/** Bytes that a finished event occupies while vacuum keeps up. */
interface Kept {
  readonly table: number;
  readonly indexes: number;
}

export interface Bytes {
  /** Of the payload as it is stored, which is the part that depends on the patient. */
  readonly payload: number;
  readonly alone: Written;
  /** With the triggers; nobody reads the slot. */
  readonly triggers: Written;
  /** With the triggers, the connector, and its records. */
  readonly delivered: Written;
  readonly kept: Readonly<Record<(typeof KEPT)[number], Kept>>;
  /** Bytes of WAL for each event that vacuum writes in the outbox and the processed events. */
  readonly vacuumWal: number;
}

export async function bytes(arena: Arena, { patients, changes, batch, batches }: BytesOptions): Promise<Bytes> {
  const database = await arena.database();
  const { pool } = database;
  const apart = Math.floor(patients / APART);
  let first = 0;
  let phone = 1;
  const change = async (count: number) => {
    await commitOneByOne(
      database,
      count,
      `UPDATE patient SET phone_number = ${phone} + n WHERE id = (n - 1) % ${apart} * ${APART} + ${first}`,
    );
    phone += count;
  };
  const deliver = async (count: number) => {
    const reached = arena.sink.expect(count);
    await change(count);
    await reached;
    await allProcessed(database);
  };
  const written = async (work: (count: number) => Promise<void>): Promise<Written> => {
    await pool.query('CHECKPOINT');
    // Patients of whose pages nobody has been changed.
    first += Math.floor(APART / 3);
    const walAfterCheckpoint = (await walOf(database, () => work(apart))) / apart;
    await work(changes);
    const cpuBefore = arena.serverCpuSeconds;
    const wal = (await walOf(database, () => work(changes))) / changes;
    return { wal, walAfterCheckpoint, cpuMs: ((arena.serverCpuSeconds - cpuBefore) * 1000) / changes };
  };
  let connector: Connector | undefined;
  try {
    arena.sink.configure({ latencyMs: 0 });
    await linkPatients(arena, database, patients);
    for (const table of TABLES) await pool.query(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`);
    await compact(database);

    await pool.query('ALTER TABLE patient DISABLE TRIGGER fhir_patient_update');
    const alone = await written(change);
    await pool.query('ALTER TABLE patient ENABLE TRIGGER fhir_patient_update');
    const triggers = await written(change);
    connector = Connector.start(database, arena.sink.url, 32);
    await connector.streaming();
    await allProcessed(database);
    const delivered = await written(deliver);

    await compact(database);
    let vacuumWal = 0;
    const round = async () => {
      await deliver(batch);
      for (const table of KEPT) vacuumWal += await walOf(database, () => pool.query(`VACUUM ${table}`));
    };
    // What the first one leaves free, each later one fills.
    await round();
    vacuumWal = 0;
    const before = await sizes(database);
    for (let n = 0; n < batches; n += 1) await round();
    const after = await sizes(database);
    const events = batch * batches;
    const kept = (table: (typeof KEPT)[number]): Kept => ({
      table: (after[table].table - before[table].table) / events,
      indexes: (after[table].indexes - before[table].indexes) / events,
    });
    const { rows } = await pool.query<{ payload: number }>(
      'SELECT avg(pg_column_size(payload_json))::float8 AS payload FROM fhir_outbox',
    );
    return {
      payload: rows[0]?.payload ?? Number.NaN,
      alone,
      triggers,
      delivered,
      kept: { fhir_outbox: kept('fhir_outbox'), fhir_processed_event: kept('fhir_processed_event') },
      vacuumWal: vacuumWal / events,
    };
  } finally {
    await connector?.stop();
    await database.drop();
  }
}

async function compact({ pool }: BenchDatabase): Promise<void> {
  for (const table of KEPT) await pool.query(`VACUUM (FULL) ${table}`);
  await pool.query('VACUUM (ANALYZE)');
}

async function sizes({ pool }: BenchDatabase): Promise<Record<(typeof KEPT)[number], Kept>> {
  const { rows } = await pool.query<Record<keyof Kept, string>>(
    `SELECT pg_table_size(name) AS "table", pg_indexes_size(name) AS indexes
       FROM unnest($1::regclass[]) WITH ORDINALITY AS one (name, position) ORDER BY position`,
    [KEPT],
  );
  const of = (position: number): Kept => ({
    table: Number(rows[position]?.table),
    indexes: Number(rows[position]?.indexes),
  });
  return { fhir_outbox: of(0), fhir_processed_event: of(1) };
}
