// Rows that the slot hands out a moment before other connections see them must be waited for, never taken for removed.
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deliveriesOf, type MapState } from '../../src/outbox/delivery/delivery.ts';
import { parseEvent } from '../../src/outbox/delivery/event.ts';
import type { Database } from '../../src/outbox/tables/database.ts';
import { OutboxReader } from '../../src/outbox/tables/reader.ts';
import { parseLsn } from '../../src/postgres/lsn.ts';
import { createDatabase, kyselyOf, type TestDatabase } from '../support/database.ts';

/** As heard of through the slot. */
const ORIGIN = { committedAt: new Date(), endLsn: parseLsn('0/1') };
const mapState: MapState = (kind, operation, payload) => kind.map(payload, 'us-core', operation === 'delete');

let database: TestDatabase;
let writer: pg.Client;
let db: Database;
/** Runs once, after the first statement of the reader has been answered. */
let afterFirstStatement: () => Promise<unknown>;

beforeEach(async () => {
  database = await createDatabase();
  writer = new pg.Client(database.config);
  await writer.connect();
  afterFirstStatement = async () => undefined;
  db = kyselyOf(database, async () => {
    const hook = afterFirstStatement;
    afterFirstStatement = async () => undefined;
    await hook();
  });
});

afterEach(async () => {
  await db.destroy();
  await writer.end();
  await database.drop();
});

describe('rows of a transaction that becomes visible between two statements of the reader', () => {
  it('are read', async () => {
    const { id, txid } = await insertUncommitted();
    afterFirstStatement = () => writer.query('COMMIT');
    await expect(reader().rows([id], txid)).resolves.toHaveLength(1);
  });

  it('are read when a parked state is asked for', async () => {
    const { id, txid } = await insertUncommitted();
    const seenByWriter = await writer.query('SELECT * FROM fhir_outbox WHERE id = $1', [id]);
    expect(Number(seenByWriter.rows[0].txid)).toBe(txid);
    const [delivery] = deliveriesOf([parseEvent(seenByWriter.rows[0])], ORIGIN, () => null);
    if (!delivery) throw new Error('The row makes a delivery.');
    afterFirstStatement = () => writer.query('COMMIT');
    await expect(reader().reload(delivery)).resolves.toMatchObject({ ok: true, identifier: { value: 'late' } });
  });
});

describe('rows that somebody removed', () => {
  it('are not waited for', async () => {
    const { id, txid } = await insertUncommitted();
    await writer.query('COMMIT');
    const { rows } = await writer.query('DELETE FROM fhir_outbox WHERE id = $1 RETURNING *', [id]);
    await expect(reader().rows([id], txid)).resolves.toEqual([]);
    const [delivery] = deliveriesOf([parseEvent(rows[0])], ORIGIN, () => null);
    if (!delivery) throw new Error('The row makes a delivery.');
    await expect(reader().reload(delivery)).resolves.toEqual({
      ok: false,
      reason: 'The outbox row was removed before it was sent.',
    });
  });
});

function reader(): OutboxReader {
  return new OutboxReader(db, mapState, (work) => work(), new AbortController().signal);
}

async function insertUncommitted(): Promise<{ id: number; txid: number }> {
  await writer.query('BEGIN');
  await writer.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', 'late')`);
  const { rows } = await writer.query(
    'SELECT id, txid FROM fhir_outbox WHERE txid = pg_current_xact_id()::text::bigint',
  );
  return { id: Number(rows[0].id), txid: Number(rows[0].txid) };
}
