// Applies sql/migrations in order, each once and in a transaction of its own, and sql/sample when asked.

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { FatalError } from '../fatal.ts';
import { kindsOfTypes } from '../outbox/delivery/kinds.ts';
import { OLDEST_VERSION } from '../postgres/client.ts';
import { isPostgres } from '../postgres/errors.ts';
import { onlyRow } from '../postgres/only-row.ts';
import { statementFor, TRIGGER_ROWS, type TriggerRow, told, triggersOff } from '../postgres/triggers.ts';
import { RAISE_WAL_LEVEL } from '../postgres/wal-level.ts';
import { type Said, toldWords } from '../privacy/told-words.ts';

const SQL_DIRECTORY = join(import.meta.dirname, '..', '..', 'sql');

/** Two migrations at a time would race for the same objects. The number is this program's own, of no meaning elsewhere. */
const ADVISORY_LOCK = 8_137_640_412;

interface SqlFile {
  readonly name: string;
  readonly text: string;
}

/**
 * Brings the database that `client` is connected to up to date and returns the names of the files that were run now.
 * `resources` are the types whose tables get triggers. `sample` adds the sample data, after the triggers, so that they are
 * synced like any others; a second time adds nothing.
 * `log` receives a line a file, and the server's warnings about what it refused.
 *
 * @throws FatalError when it cannot; all files before the one named are applied, nothing of that one is.
 */
export async function migrate(
  client: pg.ClientBase,
  options: { sample: boolean; resources?: readonly string[] },
  log: (line: string) => void = () => {},
): Promise<string[]> {
  const onNotice = (notice: Said) => {
    // By class: severities are translated, and "already exists, skipping" is nothing that an operator needs to read.
    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    if (notice.code === '55000' && notice.file === 'publicationcmds.c')
      log(`PostgreSQL runs with a wal_level that is too low: ${RAISE_WAL_LEVEL}`);
    else if (/^(01|55)/.test(notice.code ?? '')) log(`PostgreSQL says: ${toldWords(notice)}`);
  };
  client.on('notice', onNotice);
  try {
    return await bringUpToDate(client, options, log);
  } catch (error) {
    if (error instanceof FatalError || !isPostgres(error)) throw error;
    // Not in a file, of which `inTransaction` tells.
    throw new FatalError(`The schema could not be brought up to date: ${toldWords(error as Said)}`);
  } finally {
    client.off('notice', onNotice);
  }
}

async function bringUpToDate(
  client: pg.ClientBase,
  options: { sample: boolean; resources?: readonly string[] },
  log: (line: string) => void,
): Promise<string[]> {
  await refuseOldServer(client);
  const done: string[] = [];
  for (const file of await sqlFiles('migrations')) {
    const applied = await inTransaction(client, file, () => applyOnce(client, file));
    if (!applied) continue;
    log(`Applied ${file.name}`);
    done.push(file.name);
  }
  await alignSequences(client, log);
  await makeMissingTriggers(client, log);
  for (const { table } of kindsOfTypes(options.resources ?? ['Patient'])) await watch(client, table, log);
  for (const file of options.sample ? await sqlFiles('sample') : []) {
    await inTransaction(client, file, () => client.query(file.text));
    log(`Added what was missing of ${file.name}`);
    done.push(file.name);
  }
  await grantRoles(client);
  await refuseTriggersOff(client);
  return done;
}

/** Each time, for somebody may have dropped one since: the files that made them are not applied again. */
async function makeMissingTriggers(client: pg.ClientBase, log: (line: string) => void): Promise<void> {
  const made = await inTransaction(client, { name: 'The triggers that are missing' }, async () => {
    const { rows } = await client.query<TriggerRow>(TRIGGER_ROWS);
    const there = "SELECT to_regclass(format('public.%I', $1::text)) IS NOT NULL AS found";
    const made: string[] = [];
    for (const trigger of triggersOff(rows).missing) {
      if (!onlyRow(await client.query<{ found: boolean }>(there, [trigger.table])).found) continue;
      await client.query(statementFor(trigger));
      made.push(`${trigger.name} on ${trigger.table}`);
    }
    return made;
  });
  if (made.length > 0)
    log(`Made what was missing: ${made.join(', ')}. What was changed meanwhile verify --repair finds and sends.`);
}

/** Each time, for the roles may have been made after the files that list what they may do. */
async function grantRoles(client: pg.ClientBase): Promise<void> {
  await inTransaction(client, { name: 'The rights of the roles' }, () =>
    client.query('SELECT public.fhir_grant_roles()'),
  );
}

/** Who disabled a trigger had a reason that is not known here. */
async function refuseTriggersOff(client: pg.ClientBase): Promise<void> {
  const off = told(triggersOff((await client.query<TriggerRow>(TRIGGER_ROWS)).rows));
  if (off.length === 0) return;
  throw new FatalError(
    `The schema is up to date, but ${off.join(', ')}: such changes reach no FHIR server. What mends it says: npm run connector -- doctor`,
  );
}

/** What is watched already stays so, named or not: changes would pass unseen because a variable was forgotten. */
async function watch(client: pg.ClientBase, table: string, log: (line: string) => void): Promise<void> {
  const text = `SELECT public.fhir_watch('${table}') AS begun`;
  const { begun } = onlyRow(
    await inTransaction(client, { name: `The triggers of ${table}` }, () => client.query<{ begun: boolean }>(text)),
  );
  if (begun) log(`Changes of ${table} are sent from now on; backfill sends what is there already.`);
}

/** Each time, for a copy of the database may have left them behind: it is no fault of the schema. */
async function alignSequences(client: pg.ClientBase, log: (line: string) => void): Promise<void> {
  const { tables } = onlyRow(
    await client.query<{ tables: string[] }>('SELECT public.fhir_align_sequences() AS tables'),
  );
  if (tables.length > 0) log(`Moved the sequences on that were behind their tables: ${tables.join(', ')}.`);
}

async function applyOnce(client: pg.ClientBase, file: SqlFile): Promise<boolean> {
  const checksum = createHash('sha256').update(file.text).digest('hex');
  const history = "SELECT to_regclass('public.fhir_schema_migration') IS NOT NULL AS found";
  if (!onlyRow(await client.query<{ found: boolean }>(history)).found) {
    await requireCreateRight(client);
    await client.query(
      `CREATE TABLE public.fhir_schema_migration (
         version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now(), checksum text NOT NULL)`,
    );
  }
  const earlier = await client.query<{ checksum: string }>(
    'SELECT checksum FROM public.fhir_schema_migration WHERE version = $1',
    [file.name],
  );
  const known = earlier.rows[0]?.checksum;
  if (known === checksum) return false;
  if (known !== undefined) {
    throw new FatalError(
      `${file.name} was changed after it had been applied to this database. Restore the file as it was and put the change into a new one.`,
    );
  }
  await requireCreateRight(client);
  await client.query(file.text);
  await client.query('INSERT INTO public.fhir_schema_migration (version, checksum) VALUES ($1, $2)', [
    file.name,
    checksum,
  ]);
  return true;
}

/** One file, one transaction; whoever comes second waits, and then finds the file applied. */
async function inTransaction<T>(
  client: pg.ClientBase,
  file: Pick<SqlFile, 'name'>,
  work: () => Promise<T>,
): Promise<T> {
  await client.query('BEGIN');
  try {
    await client.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK]);
    const result = await work();
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    if (error instanceof FatalError) throw error;
    throw new FatalError(`${file.name} could not be applied, nothing of it was kept: ${toldWords(error as Said)}`);
  }
}

async function refuseOldServer(client: pg.ClientBase): Promise<void> {
  const { number, version } = onlyRow(
    await client.query<{ number: number; version: string }>(
      "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version",
    ),
  );
  if (number < OLDEST_VERSION) {
    throw new FatalError(`PostgreSQL 15 or newer is needed; this server is ${version}.`);
  }
}

async function requireCreateRight(client: pg.ClientBase): Promise<void> {
  const { allowed, grant } = onlyRow(
    await client.query<{ allowed: boolean; grant: string }>(
      `SELECT has_schema_privilege('public', 'CREATE') AS allowed,
              format('GRANT CREATE ON SCHEMA public TO %I;', current_user) AS grant`,
    ),
  );
  if (!allowed) {
    throw new FatalError(
      `This user may not create tables in the schema public. Have the database's owner run: ${grant}`,
    );
  }
}

/** The files that a database of this program has, in order; the names under which fhir_schema_migration knows them. */
export async function migrationNames(): Promise<string[]> {
  return (await sqlFiles('migrations')).map(({ name }) => name);
}

async function sqlFiles(folder: 'migrations' | 'sample'): Promise<SqlFile[]> {
  const names = (await readdir(join(SQL_DIRECTORY, folder))).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(
    names.map(async (name) => {
      // One checksum whatever line ends a checkout has.
      const text = (await readFile(join(SQL_DIRECTORY, folder, name), 'utf8')).replaceAll('\r\n', '\n');
      return { name: folder === 'sample' ? `sample/${name}` : name, text };
    }),
  );
}
