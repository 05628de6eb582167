// The schema that docs/database.md shows is the database's, and the SQL that the pages tell people to run does run.

import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { definedFunctions } from './defined-functions.ts';
import { blocksOf, headingsOf, pages, read, rowsOf, sectionOf } from './document.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('sample');
});
afterAll(() => db.drop());

const tables = headingsOf('docs/database.md').flatMap(({ text }) => /^`(fhir_\w+)`$/.exec(text)?.[1] ?? []);

/** Called by the triggers' functions, and by nobody else. */
const OF_THE_TRIGGERS = [
  'fhir_write_events',
  'fhir_write_event',
  'fhir_write_single_event',
  'fhir_write_patient_events',
  'fhir_identifier',
  'fhir_other_identifiers',
  'fhir_count_events',
  'fhir_write_record_events',
  'fhir_own_identifier',
  'fhir_own_uri',
  // And by the functions of backfill and verify.
  'fhir_check_source',
  'fhir_under_way',
  'fhir_revision',
];

describe('the schema in docs/database.md', () => {
  test('has every table of the connector', async () => {
    const { rows } = await db.pool.query<{ name: string }>(
      "SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relname ~ '^fhir_' AND relnamespace = 'public'::regnamespace",
    );
    expect(tables.toSorted()).toEqual(rows.map(({ name }) => name).toSorted());
  });

  test.each(tables)('has the columns of %s with their types', async (name) => {
    const { rows } = await db.pool.query<{ name: string; type: string }>(
      `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
       WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname`,
      [name],
    );
    const shown = rowsOf(sectionOf('docs/database.md', `\`${name}\``)).map(([column = '', type = '']) => ({
      name: column.replaceAll('`', ''),
      type,
    }));
    expect(shown.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual(rows);
  });

  test('has the functions that people and the connector call, with their arguments', async () => {
    const { rows } = await db.pool.query<{ signature: string }>(
      `SELECT proname || '(' || coalesce((SELECT string_agg(name || ' ' || format_type(type, NULL), ', ' ORDER BY no)
                FROM unnest(proargnames[:pronargs], proargtypes::oid[]) WITH ORDINALITY AS a(name, type, no)), '') || ')' AS signature
       FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname ~ '^fhir_' AND prorettype <> 'trigger'::regtype
         AND proname <> ALL ($1) ORDER BY 1`,
      [OF_THE_TRIGGERS],
    );
    const shown = rowsOf(sectionOf('docs/database.md', 'Functions')).map(([signature = '']) =>
      signature.replaceAll('`', ''),
    );
    expect(shown.toSorted()).toEqual(rows.map(({ signature }) => signature));
  });

  test('says of each function that the database has which migration its text is of', async () => {
    const { rows } = await db.pool.query<{ name: string; types: string; body: string }>(
      `SELECT proname AS name, oidvectortypes(proargtypes) AS types, prosrc AS body
         FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname ~ '^fhir_'`,
    );
    const defined = definedFunctions();
    const signatures = (all: readonly { name: string; types: string }[]) =>
      all.map(({ name, types }) => `${name}(${types})`).toSorted();
    expect(signatures(defined)).toEqual(signatures(rows));
    for (const { name, types, body } of rows) {
      const file = defined.find((each) => each.name === name && each.types === types)?.file;
      expect(read(`sql/migrations/${file}`).includes(body), `${name} is as ${file} has it`).toBe(true);
    }
  });
});

/** Who runs what these pages show; NONE is the owner of the tables, here a superuser. */
const READERS: Readonly<Record<string, string>> = {
  'README.md': 'NONE',
  'docs/metrics.md': 'fhir_app',
  'docs/operations.md': 'NONE',
  'docs/patient-data.md': 'fhir_operator',
  'docs/roles.md': 'NONE',
  'docs/runbook.md': 'fhir_operator',
};
/** A test of its own goes through it. */
const WITH_A_TEST = 'docs/adding-a-table.md';
const OF_OPERATORS = 'Very many dead letters';
const REMOVAL = 'Removing the connector';

/** Without what runs in no transaction, or is of the whole server and so of all tests. */
const ofThisDatabase = (block: string) => block.replace(/^(?:ALTER SYSTEM|DROP ROLE) .*;$/gm, '');

/** On a connection of its own, and then as if it had not been. */
async function inVain(work: (client: PoolClient) => Promise<void>): Promise<void> {
  const client = await db.pool.connect();
  try {
    await client.query('BEGIN');
    await work(client);
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

describe('the SQL in the pages', () => {
  const ofOperators = new Set(blocksOf(sectionOf('docs/operations.md', OF_OPERATORS), 'sql'));
  const ofRemoval = new Set(blocksOf(sectionOf('docs/operations.md', REMOVAL), 'sql'));
  const blocks = Object.entries(READERS).flatMap(([page, reader]) =>
    blocksOf(read(page), 'sql')
      .filter((block) => !ofRemoval.has(block))
      .map((block) => ({ page, block, role: ofOperators.has(block) ? 'fhir_operator' : reader })),
  );

  test('is all run here', () => {
    const shown = pages.filter((page) => blocksOf(read(page), 'sql').length > 0);
    expect(shown).toEqual([...Object.keys(READERS), WITH_A_TEST].toSorted());
    expect(ofOperators.size).toBeGreaterThan(0);
  });

  test.each(blocks)('$page: runs as $role: $block', async ({ block, role }) => {
    await inVain(async (client) => {
      await client.query(`SET LOCAL ROLE ${role}; ${ofThisDatabase(block)}`);
    });
  });
});

describe('the way to remove the connector', () => {
  test('leaves nothing of the connector in the database, and the application writes on', async () => {
    const blocks = blocksOf(sectionOf('docs/operations.md', REMOVAL), 'sql');
    expect(blocks).toHaveLength(5);
    await inVain(async (client) => {
      for (const table of ['form', 'blood_pressure', 'pulse'])
        await client.query('SELECT public.fhir_watch($1)', [table]);
      await client.query(`SELECT public.fhir_ensure_publication('fhir_outbox_pub_0_of_2', 2, 0)`);
      for (const block of blocks) {
        const { rows } = await client.query<{ statement?: string }>(ofThisDatabase(block));
        for (const { statement } of rows ?? []) if (statement) await client.query(statement);
      }
      const { rows } = await client.query(LEFT_BEHIND);
      expect(rows).toEqual([]);
      const { rowCount } = await client.query("UPDATE public.patient SET phone_number = '+1-555-000-0000'");
      expect(rowCount).toBeGreaterThan(0);
    });
  });
});

/** fhir_app is left: the application's login has its rights by it. */
const LEFT_BEHIND = `
  SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname ~ 'fhir_'
  UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname ~ 'fhir_'
  UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typname ~ 'fhir_'
  UNION ALL SELECT tgname FROM pg_trigger WHERE tgname ~ 'fhir_'
  UNION ALL SELECT pubname FROM pg_publication
  UNION ALL SELECT slot_name FROM pg_replication_slots WHERE database = current_database()
  UNION ALL SELECT refobjid::regrole::text FROM pg_shdepend
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND refclassid = 'pg_authid'::regclass
      AND refobjid IN ('fhir_connector'::regrole, 'fhir_operator'::regrole)`;
