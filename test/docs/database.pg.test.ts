// The schema that docs/design.md shows is the database's, and the SQL that README, runbook, operations and roles tell people to run does run.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { blocksOf, headingsOf, read, rowsOf, sectionOf } from './document.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('sample');
});
afterAll(() => db.drop());

const tables = headingsOf('docs/design.md').flatMap(({ text }) => /^`(fhir_\w+)`$/.exec(text)?.[1] ?? []);

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

describe('the schema in docs/design.md', () => {
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
    const shown = rowsOf(sectionOf('docs/design.md', `\`${name}\``)).map(([column = '', type = '']) => ({
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
    const shown = rowsOf(sectionOf('docs/design.md', 'Functions')).map(([signature = '']) =>
      signature.replaceAll('`', ''),
    );
    expect(shown.toSorted()).toEqual(rows.map(({ signature }) => signature));
  });
});

describe('the SQL in the README, the runbook, the operations and the roles', () => {
  const operations = [
    { heading: 'Major upgrade of PostgreSQL', role: 'NONE' },
    { heading: 'A FHIR server restored, empty, or another one', role: 'NONE' },
    { heading: 'Very many dead letters', role: 'fhir_operator' },
    { heading: 'TLS to PostgreSQL, and its certificates', role: 'NONE' },
  ].flatMap(({ heading, role }) =>
    blocksOf(sectionOf('docs/operations.md', heading), 'sql').map((block) => ({ block, role })),
  );
  const blocks = [
    { heading: 'Run it on your own database and FHIR server', role: 'NONE' },
    { heading: 'Dead letters', role: 'NONE' },
    { heading: 'Clean-up', role: 'NONE' },
  ]
    .flatMap(({ heading, role }) => blocksOf(sectionOf('README.md', heading), 'sql').map((block) => ({ block, role })))
    .concat(blocksOf(read('docs/runbook.md'), 'sql').map((block) => ({ block, role: 'fhir_operator' })))
    .concat(operations)
    .concat(blocksOf(read('docs/roles.md'), 'sql').map((block) => ({ block, role: 'NONE' })));

  test('is there', () => {
    expect(blocks.length).toBeGreaterThan(8);
    expect(operations).toHaveLength(blocksOf(read('docs/operations.md'), 'sql').length);
  });

  test.each(blocks)('runs as $role: $block', async ({ block, role }) => {
    const client = await db.pool.connect();
    try {
      // ALTER SYSTEM runs in no transaction, and would change the server of all tests.
      const statements = block.replace(/^ALTER SYSTEM .*;$/gm, '');
      await client.query(`BEGIN; SET LOCAL ROLE ${role}; ${statements}`);
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  });
});
