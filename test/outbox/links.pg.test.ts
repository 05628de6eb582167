// The cache of links: true while the slot is held, and never filled with what was read before that.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Database } from '../../src/outbox/tables/database.ts';
import { Links } from '../../src/outbox/tables/links.ts';
import { createDatabase, kyselyOf, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let db: Database;
let statements: number;
/** Runs once, after the next statement has been answered. */
let afterStatement: () => Promise<void>;

beforeEach(async () => {
  database = await createDatabase();
  statements = 0;
  afterStatement = async () => undefined;
  db = kyselyOf(database, async () => {
    statements += 1;
    const hook = afterStatement;
    afterStatement = async () => undefined;
    await hook();
  });
});

afterEach(async () => {
  await db.destroy();
  await database.drop();
});

async function link(sourceId: number, fhirId: string, revision: number): Promise<void> {
  await database.pool.query(
    `INSERT INTO fhir_link (resource_type, source_table, source_id, fhir_id, last_revision) VALUES ('Patient', 'patient', $1, $2, $3)
     ON CONFLICT (source_table, source_id) DO UPDATE SET fhir_id = EXCLUDED.fhir_id, last_revision = EXCLUDED.last_revision`,
    [sourceId, fhirId, revision],
  );
}

const patient = (sourceId: number) => ({ table: 'patient', sourceId });

describe('Links', () => {
  it('asks for many in one statement, remembers what there is and what there is not', async () => {
    await link(1, 'a', 5);
    const links = new Links(db, (work) => work());
    expect(links.peek(patient(1))).toBe(undefined);
    await links.prefetch([1, 2, 1].map(patient));
    expect(links.peek(patient(1))).toEqual({
      fhirId: 'a',
      versionId: null,
      lastRevision: 5,
      deleted: false,
      identifiers: null,
    });
    expect(links.peek(patient(2))).toBe(null);
    await links.prefetch([patient(2)]);
    await expect(links.get(patient(1))).resolves.toMatchObject({ fhirId: 'a' });
    expect(statements).toBe(1);
  });

  it('asks for more than 65,535 at once', async () => {
    await link(70_000, 'last', 1);
    const links = new Links(db, (work) => work());
    await links.prefetch(Array.from({ length: 70_000 }, (_, index) => patient(index + 1)));
    expect(links.peek(patient(70_000))).toMatchObject({ fhirId: 'last' });
  });

  it('forgets everything when the slot is taken again', async () => {
    const links = new Links(db, (work) => work());
    await expect(links.get(patient(1))).resolves.toBe(null);
    await link(1, 'b', 6);
    await expect(links.get(patient(1))).resolves.toBe(null);
    links.forgetAll();
    await expect(links.get(patient(1))).resolves.toMatchObject({ fhirId: 'b', lastRevision: 6 });
  });

  it('does not remember an answer to a question from before that', async () => {
    await link(1, 'a', 5);
    const links = new Links(db, (work) => work());
    afterStatement = async () => {
      // While the answer is on its way, another connector writes and the slot comes back to us.
      await link(1, 'b', 6);
      links.forgetAll();
    };
    await expect(links.get(patient(1))).resolves.toMatchObject({ fhirId: 'b', lastRevision: 6 });
  });

  it('doubts the versions of all once for everybody who asks for it at the same time', async () => {
    await link(1, 'a', 5);
    const links = new Links(db, (work) => work());
    await Promise.all(Array.from({ length: 5 }, () => links.doubtAll()));
    expect(statements).toBe(1);
  });

  it('doubts again what was recorded since it began to', async () => {
    await link(1, 'a', 5);
    const links = new Links(db, (work) => work());
    let again: Promise<void> | undefined;
    afterStatement = async () => {
      await database.pool.query(`UPDATE fhir_link SET version_id = '7'`);
      again = links.doubtAll();
    };
    await links.doubtAll();
    await again;
    await expect(links.get(patient(1))).resolves.toMatchObject({ fhirId: 'a', versionId: null });
  });
});
