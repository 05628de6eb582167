// What one change costs the database beside the change itself: WAL, and row versions that vacuum has to remove.
//
// WAL without full page images: after the CHECKPOINT all patients are changed and delivered once, and what is measured then
// writes to pages that have had theirs, or are new. Autovacuum is off, so that it takes nothing away that is to be counted.
import { setTimeout as delay } from 'node:timers/promises';
import type { Arena, BenchDatabase } from '../arena.ts';
import { Connector } from '../connector.ts';
import { allProcessed, updateOneByOne } from '../patients.ts';
import { walOf } from '../wal.ts';
import { linkPatients } from './drain.ts';

const PATIENTS = 2000;
const TABLES = ['fhir_outbox', 'fhir_link', 'fhir_patient_revision', 'fhir_processed_event'] as const;
const STATISTICS_MS = 30_000;

/** Of one table, for each change. */
interface Versions {
  readonly updated: number;
  /** Of these, such that need no new index entries, and go when their page is next read. */
  readonly updatedHot: number;
  /** What vacuum still finds. */
  readonly dead: number;
}

/** All for each change: one patient's UPDATE in a transaction of its own. */
export interface DatabaseCost {
  /** Bytes of the UPDATE and its commit alone. */
  readonly changeWal: number;
  /** Bytes that the trigger adds: the revision and the outbox row. */
  readonly eventWal: number;
  /** Bytes of the connector's records. */
  readonly recordWal: number;
  /** Full page images that are in these bytes after all. */
  readonly fullPageImages: number;
  readonly versions: Readonly<Record<(typeof TABLES)[number], Versions>>;
}

export async function databaseCost(arena: Arena, transactions: number): Promise<DatabaseCost> {
  const database = await arena.database();
  const { pool } = database;
  const { sink } = arena;
  const wal = async (work: () => Promise<void>) => (await walOf(database, work)) / transactions;
  const change = () => updateOneByOne(database, PATIENTS, transactions);
  const deliver = async () => {
    const connector = Connector.start(database, sink.url, 32);
    await connector.streaming();
    await allProcessed(database);
    await connector.stop();
  };
  try {
    sink.configure({ latencyMs: 0 });
    await linkPatients(arena, database, PATIENTS);
    for (const table of ['patient', ...TABLES]) await pool.query(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`);
    await pool.query('CHECKPOINT');
    await updateOneByOne(database, PATIENTS, PATIENTS);
    await deliver();
    const versionsBefore = await versionsOnce(database, 2 * PATIENTS);
    const imagesBefore = await fullPageImages(database);
    await pool.query('ALTER TABLE patient DISABLE TRIGGER fhir_patient_update');
    const changeWal = await wal(change);
    await pool.query('ALTER TABLE patient ENABLE TRIGGER fhir_patient_update');
    const eventWal = (await wal(change)) - changeWal;
    const recordWal = await wal(deliver);
    const images = ((await fullPageImages(database)) - imagesBefore) / transactions;
    const versionsAfter = await versionsOnce(database, 2 * PATIENTS + transactions);
    const versions = Object.fromEntries(
      TABLES.map((table) => [table, perChange(versionsBefore[table], versionsAfter[table], transactions)]),
    ) as Record<(typeof TABLES)[number], Versions>;
    return { changeWal, eventWal, recordWal, fullPageImages: images, versions };
  } finally {
    await database.drop();
  }
}

function perChange(before: Versions | undefined, after: Versions | undefined, changes: number): Versions {
  const of = (key: keyof Versions) => ((after?.[key] ?? Number.NaN) - (before?.[key] ?? Number.NaN)) / changes;
  return { updated: of('updated'), updatedHot: of('updatedHot'), dead: of('dead') };
}

async function fullPageImages({ pool }: BenchDatabase): Promise<number> {
  const { rows } = await pool.query<{ n: string }>('SELECT wal_fpi AS n FROM pg_stat_wal');
  return Number(rows[0]?.n);
}

/**
 * The counts since the tables were made, once they hold so many outbox rows and as many of their records: sessions hand
 * them in when they end, or up to ten seconds later.
 */
async function versionsOnce({ pool }: BenchDatabase, events: number): Promise<Record<string, Versions>> {
  const deadline = performance.now() + STATISTICS_MS;
  for (;;) {
    const { rows } = await pool.query<{ relname: string; n_tup_ins: string } & Record<keyof Versions, string>>(
      `SELECT relname, n_tup_ins, n_tup_upd AS updated, n_tup_hot_upd AS "updatedHot", n_dead_tup AS dead
         FROM pg_stat_user_tables WHERE relname = ANY ($1)`,
      [TABLES],
    );
    const outbox = rows.find(({ relname }) => relname === 'fhir_outbox');
    if (Number(outbox?.n_tup_ins) >= events && Number(outbox?.updated) >= events) {
      return Object.fromEntries(
        rows.map((row) => [
          row.relname,
          { updated: Number(row.updated), updatedHot: Number(row.updatedHot), dead: Number(row.dead) },
        ]),
      );
    }
    if (performance.now() > deadline)
      throw new Error(`PostgreSQL counts ${JSON.stringify(outbox)}, not ${events} rows.`);
    await delay(100);
  }
}
