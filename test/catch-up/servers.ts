// PostgreSQL servers of a test's own: to be pressed, stopped, copied and promoted.
import { execFile } from 'node:child_process';
import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { migrate } from '../../src/migrate.ts';
import type { DatabaseTarget } from '../support/connector.ts';
import { ask, run } from './hospital.ts';

const execute = promisify(execFile);

/** The same superuser on all servers: whoever is led to another one must be let in. */
const TESTER = { user: 'tester', password: 'tester' };

export async function startServer(settings: Readonly<Record<string, string>> = {}): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ fsync: false, settings });
  const { host, port, user, password } = server;
  const { user: name, password: secret } = TESTER;
  await run(
    { name, config: { host, port, user, password, database: 'postgres' } },
    `CREATE ROLE ${name} SUPERUSER LOGIN REPLICATION PASSWORD '${secret}'`,
  );
  return server;
}

/** A new database on the server with the schema as `migrate` makes it. */
export async function migrated(server: EmbeddedPostgres, name: string): Promise<DatabaseTarget> {
  const database = on(server, name);
  await run(on(server, 'postgres'), `CREATE DATABASE ${name}`);
  await migrateAgain(database);
  return database;
}

export function on({ port }: { readonly port: number }, name: string): DatabaseTarget {
  return { name, config: { host: '127.0.0.1', port, ...TESTER, database: name } };
}

/** Returns the lines that `migrate` wrote. */
export async function migrateAgain(database: DatabaseTarget): Promise<string[]> {
  const client = new pg.Client(database.config);
  await client.connect();
  const lines: string[] = [];
  await migrate(client, { sample: false }, (line) => lines.push(line)).finally(() => client.end());
  return lines;
}

const TABLES = [
  'patient',
  'patient_other_identifiers',
  'fhir_patient_revision',
  'fhir_outbox',
  'fhir_dlq',
  'fhir_processed_event',
  'fhir_link',
  'fhir_link_identifier',
  'fhir_slot',
];

/**
 * All rows as a dump and restore moves them (no trigger fires, and transaction ids and positions in the WAL are the new
 * cluster's own), with the sequences as a dump has them, or without, as logical replication leaves them.
 */
export async function copyRows(
  from: DatabaseTarget,
  to: DatabaseTarget,
  { sequences }: { sequences: boolean },
): Promise<void> {
  const client = new pg.Client(to.config);
  await client.connect();
  try {
    await client.query('SET session_replication_role = replica');
    for (const table of TABLES) {
      const [all] = await ask<{ rows: string }>(
        from,
        `SELECT coalesce(json_agg(t), '[]')::text AS rows FROM ${table} AS t`,
      );
      await client.query(`DELETE FROM ${table}`);
      await client.query(`INSERT INTO ${table} SELECT * FROM json_populate_recordset(NULL::${table}, $1)`, [all?.rows]);
    }
    for (const { name, value } of sequences ? await sequencesOf(from) : [])
      await client.query('SELECT setval($1, $2)', [name, value]);
  } finally {
    await client.end();
  }
}

function sequencesOf(database: DatabaseTarget): Promise<{ name: string; value: string }[]> {
  return ask(
    database,
    `SELECT sequencename AS name, last_value AS value FROM pg_sequences WHERE last_value IS NOT NULL`,
  );
}

/**
 * Turns `standby`, a server of the same version, into a standby of `primary` by copying its files while it runs.
 * https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP
 */
export async function makeStandby(standby: EmbeddedPostgres, primary: EmbeddedPostgres): Promise<void> {
  await standby.pause('fast');
  const owner = await stat(standby.dataDir);
  for (const name of await readdir(standby.dataDir)) await rm(join(standby.dataDir, name), { recursive: true });
  const client = new pg.Client({
    host: primary.host,
    port: primary.port,
    user: primary.user,
    password: primary.password,
    database: 'postgres',
  });
  await client.connect();
  await client.query(`SELECT pg_backup_start('standby', true)`);
  const names = await readdir(primary.dataDir);
  // Slots are not part of a base backup, the WAL comes by streaming.
  const copied = names.filter((name) => !/^(pg_wal|pg_replslot|postmaster\..*)$/.test(name));
  await execute('cp', ['-a', ...copied.map((name) => join(primary.dataDir, name)), standby.dataDir]);
  const { rows } = await client.query<{ labelfile: string }>('SELECT labelfile FROM pg_backup_stop(false)');
  await client.end();
  const { uid, gid } = owner;
  const connection = `host=${primary.host} port=${primary.port} user=${TESTER.user} password=${TESTER.password}`;
  await writeFile(join(standby.dataDir, 'backup_label'), rows[0]?.labelfile ?? '');
  await writeFile(join(standby.dataDir, 'standby.signal'), '');
  await writeFile(join(standby.dataDir, 'postgresql.auto.conf'), `primary_conninfo = '${connection}'\n`);
  for (const directory of ['pg_wal', 'pg_wal/archive_status', 'pg_replslot'])
    await execute('install', ['-d', '-m', '700', join(standby.dataDir, directory)]);
  await execute('chown', ['-R', `${uid}:${gid}`, standby.dataDir]);
  await standby.start();
}
