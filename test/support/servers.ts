// PostgreSQL servers of a test's own: to be pressed, stopped, copied and promoted.
import { execFile } from 'node:child_process';
import { appendFile, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { vi } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { migrate } from '../../src/schema/migrate.ts';
import type { DatabaseTarget } from './connector.ts';
import { PATIENCE } from './patience.ts';
import { ask, run, withClient } from './with-client.ts';

const execute = promisify(execFile);

/** The same superuser on all servers: whoever is led to another one must be let in. */
const TESTER = { user: 'tester', password: 'tester' };

/** `bin`: the folder with its programs, where they are not those of the npm package. */
export async function startServer(
  settings: Readonly<Record<string, string>> = {},
  bin?: string,
): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ fsync: false, settings, ...(bin !== undefined && { bin }) });
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
  const lines: string[] = [];
  await withClient(database.config, (client) => migrate(client, { sample: false }, (line) => lines.push(line)));
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
  await withClient(to.config, async (client) => {
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
  });
}

function sequencesOf(database: DatabaseTarget): Promise<{ name: string; value: string }[]> {
  return ask(
    database,
    `SELECT sequencename AS name, last_value AS value FROM pg_sequences WHERE last_value IS NOT NULL`,
  );
}

/** Replaces what is in `folder`, whose owner stays the same, by the server's files, copied while it runs. */
export async function baseBackup(server: EmbeddedPostgres, folder: string): Promise<void> {
  await emptied(folder);
  const { host, port, user, password } = server;
  const { rows } = await withClient({ host, port, user, password, database: 'postgres' }, async (client) => {
    // https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP
    await client.query(`SELECT pg_backup_start('test', true)`);
    const names = await readdir(server.dataDir);
    // Slots are not part of a base backup; the WAL comes by streaming or from the archive.
    const copied = names.filter((name) => !/^(pg_wal|pg_replslot|postmaster\..*)$/.test(name));
    await execute('cp', ['-a', ...copied.map((name) => join(server.dataDir, name)), folder]);
    return client.query<{ labelfile: string }>('SELECT labelfile FROM pg_backup_stop()');
  });
  await writeFile(join(folder, 'backup_label'), rows[0]?.labelfile ?? '');
  for (const directory of ['pg_wal', 'pg_wal/archive_status', 'pg_replslot'])
    await execute('install', ['-d', '-m', '700', join(folder, directory)]);
  await owned(folder);
}

/** Replaces what is in `folder` by the files of a paused server, its slots and its WAL among them. */
export async function copyFiles(server: EmbeddedPostgres, folder: string): Promise<void> {
  await emptied(folder);
  await execute('cp', ['-a', `${server.dataDir}/.`, folder]);
}

/** Puts a copy of a server's files in the place of those that a paused server has. */
export async function putBack(folder: string, server: EmbeddedPostgres): Promise<void> {
  await emptied(server.dataDir);
  await execute('cp', ['-a', `${folder}/.`, server.dataDir]);
}

/** Adds lines to the settings of a paused server, and the empty files that make it recover when it starts. */
export async function configure(
  server: EmbeddedPostgres,
  settings: Readonly<Record<string, string>>,
  signal: 'standby.signal' | 'recovery.signal',
): Promise<void> {
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'\n`);
  await appendFile(join(server.dataDir, 'postgresql.auto.conf'), lines.join(''));
  await writeFile(join(server.dataDir, signal), '');
  await owned(server.dataDir);
}

/** Turns `standby`, a server of the same version, into a standby of `primary` by copying its files while it runs. */
export async function makeStandby(
  standby: EmbeddedPostgres,
  primary: EmbeddedPostgres,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  await standby.pause('fast');
  await baseBackup(primary, standby.dataDir);
  const { user, password } = TESTER;
  const connection = `host=${primary.host} port=${primary.port} dbname=postgres user=${user} password=${password}`;
  await configure(standby, { primary_conninfo: connection, ...settings }, 'standby.signal');
  await standby.start();
}

/** Resolves when the standby has all that the primary has written so far. */
export async function replayed(primary: DatabaseTarget, standby: DatabaseTarget): Promise<void> {
  const [sent] = await ask<{ lsn: string }>(primary, 'SELECT pg_current_wal_lsn() AS lsn');
  await vi.waitUntil(async () => {
    const [there] = await ask<{ all: boolean }>(standby, 'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS all', [
      sent?.lsn,
    ]);
    return there?.all;
  }, PATIENCE);
}

/** Empties a folder, which is made if need be: as one of the account that runs the server. */
async function emptied(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
}

/** All that is in it belongs to the account that runs the server. */
async function owned(folder: string): Promise<void> {
  const { uid, gid } = await stat(dirname(folder));
  await execute('chown', ['-R', `${uid}:${gid}`, folder]);
}
