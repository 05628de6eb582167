// The schema: is it this program's, do the triggers fire for everybody, and do counters run ahead of what they have counted?
import type pg from 'pg';
import { KINDS } from '../outbox/delivery/kinds.ts';
import { unwatchedSentence } from '../outbox/operator/watched.ts';
import { onlyRow } from '../postgres/only-row.ts';
import { statementFor, TRIGGER_ROWS, type TriggerRow, told, triggersOff } from '../postgres/triggers.ts';
import { type Finding, fault, ok, unknown, warning } from './finding.ts';
import { look } from './look.ts';

const MIGRATE = { say: "As the tables' owner, run: npm run connector -- migrate" };

export async function hasOutbox(client: pg.Client): Promise<boolean> {
  const there = "SELECT to_regclass('public.fhir_outbox') IS NOT NULL AS found";
  return onlyRow(await client.query<{ found: boolean }>(there)).found;
}

/** `migrations`: the names of this program's files. `resources`: FHIR_RESOURCES. */
export async function schemaFindings(
  client: pg.Client,
  hasSchema: boolean,
  migrations: readonly string[],
  resources: readonly string[],
): Promise<Finding[]> {
  if (!hasSchema) return [fault('Schema', 'The database has no table fhir_outbox.', MIGRATE)];
  return [
    ...(await look('Schema', () => version(client, migrations))),
    ...(await look('Triggers', () => triggers(client, resources))),
    ...(await look('session_replication_role', () => replicaRoles(client))),
    ...(await look('fhir_outbox', () => logged(client))),
    ...(await look('Sequences', () => sequences(client))),
    ...(await look('Revisions', () => revisions(client))),
  ];
}

async function version(client: pg.Client, migrations: readonly string[]): Promise<Finding> {
  const check = 'Schema';
  const { rows } = await client.query<{ version: string }>('SELECT version FROM public.fhir_schema_migration');
  const applied = new Set(rows.map(({ version }) => version));
  const missing = migrations.filter((name) => !applied.has(name));
  if (missing.length > 0)
    return fault(check, `The schema is older than this program: it lacks ${missing.join(', ')}.`, MIGRATE);
  const newer = [...applied].filter((name) => !migrations.includes(name));
  if (newer.length > 0) {
    return warning(check, `The schema is newer than this program, which does not know ${newer.join(', ')}.`, {
      say: 'Run the program that brought the schema up to date, or a newer one.',
    });
  }
  return ok(check, `The schema is this program's (${migrations.length} files).`);
}

/** https://www.postgresql.org/docs/current/sql-altertable.html : a disabled trigger lets changes pass that nobody sends. */
async function triggers(client: pg.Client, resources: readonly string[]): Promise<Finding> {
  const check = 'Triggers';
  const { rows } = await client.query<TriggerRow>(TRIGGER_ROWS);
  const { expected, missing, asleep } = triggersOff(rows);
  const watched = new Set(expected.map(({ table }) => table));
  const unwatched = unwatchedSentence(
    resources,
    KINDS.filter(({ table }) => watched.has(table)),
  );
  if (unwatched !== null) return fault(check, unwatched, MIGRATE);
  if (missing.length + asleep.length === 0) return ok(check, `All ${expected.length} are there and enabled.`);
  const sql = [
    ...missing.map((trigger) => `${statementFor(trigger)};`),
    ...asleep.map(({ name, table }) => `ALTER TABLE public.${table} ENABLE TRIGGER ${name};`),
  ];
  return fault(check, `${told({ missing, asleep }).join(', ')}: such changes reach no FHIR server.`, {
    say: "As the tables' owner, run this; then npm run connector -- verify --repair, for what was changed meanwhile.",
    sql: sql.join('\n'),
  });
}

/** With session_replication_role = replica ordinary triggers do not fire: right for a subscriber, wrong for an application. */
async function replicaRoles(client: pg.Client): Promise<Finding> {
  const check = 'session_replication_role';
  const { rows } = await client.query<{ target: string; sql: string }>(
    `SELECT concat_ws(' in ', CASE WHEN s.setrole = 0 THEN 'all roles' ELSE s.setrole::regrole::text END, d.datname) AS target,
            CASE WHEN s.setrole = 0 AND s.setdatabase = 0 THEN 'ALTER ROLE ALL RESET session_replication_role;'
                 WHEN s.setrole = 0 THEN format('ALTER DATABASE %I RESET session_replication_role;', d.datname)
                 WHEN s.setdatabase = 0 THEN format('ALTER ROLE %s RESET session_replication_role;', s.setrole::regrole)
                 ELSE format('ALTER ROLE %s IN DATABASE %I RESET session_replication_role;', s.setrole::regrole, d.datname) END AS sql
       FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
      WHERE EXISTS (SELECT FROM unnest(s.setconfig) AS setting WHERE lower(setting) = 'session_replication_role=replica')
        AND (s.setdatabase = 0 OR d.datname = current_database())`,
  );
  if (rows.length === 0) return ok(check, 'No role and no database has it set to replica.');
  return fault(
    check,
    `It is replica for ${rows.map(({ target }) => target).join(', ')}: the triggers do not fire there.`,
    {
      say: 'As a superuser, run this, and have the application connect anew; then npm run connector -- verify --repair.',
      sql: rows.map(({ sql }) => sql).join('\n'),
    },
  );
}

/** An unlogged table is in no WAL, and so in no slot. */
async function logged(client: pg.Client): Promise<Finding> {
  const check = 'fhir_outbox';
  const { rows } = await client.query<{ persistence: string }>(
    "SELECT relpersistence AS persistence FROM pg_class WHERE oid = 'public.fhir_outbox'::regclass",
  );
  if (rows[0]?.persistence === 'p') return ok(check, 'The table is written to the WAL.');
  return fault(check, 'The table is unlogged: the slot sees none of its rows, and a crash empties it.', {
    say: "As the table's owner, run this, and restart the connector: it delivers what the slot did not hand out.",
    sql: 'ALTER TABLE public.fhir_outbox SET LOGGED;',
  });
}

/** A copy of a database may come without its sequences, https://www.postgresql.org/docs/current/logical-replication-restrictions.html */
async function sequences(client: pg.Client): Promise<Finding> {
  const check = 'Sequences';
  // No row where the user may not see it; NULL for a sequence that has given nothing yet.
  const { rows } = await client.query<{ behind: boolean }>(
    `SELECT coalesce((SELECT max(id) FROM public.fhir_outbox), 0) > coalesce(pg_sequence_last_value(sequence::regclass), 0) AS behind
       FROM pg_get_serial_sequence('public.fhir_outbox', 'id') AS sequence
      WHERE has_sequence_privilege(sequence, 'USAGE, SELECT')`,
  );
  const [row] = rows;
  if (!row)
    return unknown(check, 'This user may not see whether the sequence of fhir_outbox is behind its rows.', MIGRATE);
  if (!row.behind) return ok(check, 'The sequence of fhir_outbox is not behind its rows.');
  return fault(check, 'The sequence of fhir_outbox is behind its rows: changes of patients fail.', {
    say: "As the tables' owner, run this.",
    sql: 'SELECT public.fhir_align_sequences();',
  });
}

async function revisions(client: pg.Client): Promise<Finding> {
  const check = 'Revisions';
  const { behind } = onlyRow(
    await client.query<{ behind: number }>(
      `SELECT count(*)::int AS behind FROM public.fhir_link AS l
         LEFT JOIN public.fhir_patient_revision AS p ON l.source_table = 'patient' AND p.patient_id = l.source_id
         LEFT JOIN public.fhir_record_revision AS r ON r.table_name = l.source_table AND r.record_id = l.source_id
        WHERE l.last_revision > coalesce(p.revision, r.revision, 0)`,
    ),
  );
  if (behind === 0) return ok(check, 'No counter of revisions is behind what was delivered.');
  return fault(
    check,
    `Rows whose counter of revisions is behind what was delivered: ${behind}. Their next changes would be taken for old.`,
    {
      say: "As the tables' owner, run this; then npm run connector -- verify --repair.",
      sql: `INSERT INTO public.fhir_patient_revision AS known (patient_id, revision)
  SELECT source_id, last_revision FROM public.fhir_link WHERE source_table = 'patient'
  ON CONFLICT (patient_id) DO UPDATE SET revision = excluded.revision WHERE known.revision < excluded.revision;
INSERT INTO public.fhir_record_revision AS known (table_name, record_id, revision)
  SELECT source_table, source_id, last_revision FROM public.fhir_link WHERE source_table <> 'patient'
  ON CONFLICT (table_name, record_id) DO UPDATE SET revision = excluded.revision WHERE known.revision < excluded.revision;`,
    },
  );
}
