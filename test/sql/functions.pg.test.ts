// The functions that the connector and its operator call, and the view and gauges beside a long history.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventsOf, insertPatient, type OutboxEvent } from './outbox-events.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

async function oneEvent(): Promise<OutboxEvent> {
  const [event] = await eventsOf(db.pool, () => insertPatient(db.pool));
  if (event === undefined) throw new Error('The insert wrote no event.');
  return event;
}

async function one(sql: string, values: unknown[] = []): Promise<Record<string, unknown>> {
  const { rows } = await db.pool.query(sql, values);
  return rows[0];
}

describe('fhir_align_sequences', () => {
  const asConnector = async (sql: string) => {
    const client = await db.pool.connect();
    try {
      await client.query('SET ROLE fhir_connector');
      return (await client.query(sql)).rows;
    } finally {
      client.release(true);
    }
  };

  test('called by the connector, moves on what is behind its table, and nothing else, nor back', async () => {
    const { id } = await oneEvent();
    await db.pool.query(`SELECT setval('fhir_outbox_id_seq', 1, false), setval('fhir_dlq_id_seq', 100)`);
    const align = 'SELECT fhir_align_sequences() AS behind';
    expect(await asConnector(align)).toEqual([{ behind: ['fhir_outbox'] }]);
    expect(await asConnector(align)).toEqual([{ behind: [] }]);
    expect((await oneEvent()).id).toBe(String(Number(id) + 1));
    expect(await one('SELECT last_value FROM fhir_dlq_id_seq')).toEqual({ last_value: '100' });
  });
});

describe('fhir_move_outbox_to_dlq', () => {
  test('copies the event, marks it processed, and keeps what the server said', async () => {
    const event = await oneEvent();
    const { dead } = await one(
      `SELECT fhir_move_outbox_to_dlq($1, 'The server refused it', http_status => 422, operation_outcome => '{"issue": []}', attempts => 3) AS dead`,
      [event.id],
    );

    expect(await one('SELECT * FROM fhir_dlq WHERE id = $1', [dead])).toMatchObject({
      outbox_id: event.id,
      txid: event.txid,
      table_name: 'patient',
      record_id: event.record_id,
      operation: 'I',
      payload_json: event.payload_json,
      error_text: 'The server refused it',
      attempts: 3,
      resource_type: 'Patient',
      source_id: String(event.patient_id),
      patient_id: event.patient_id,
      patient_revision: event.patient_revision,
      http_status: 422,
      operation_outcome: { issue: [] },
      resolved_at: null,
    });
    expect(
      await one(
        'SELECT processed, processed_at IS NOT NULL AS at, attempts, last_error FROM fhir_outbox WHERE id = $1',
        [event.id],
      ),
    ).toEqual({ processed: true, at: true, attempts: 3, last_error: 'The server refused it' });
  });

  test('makes one dead letter, however often and by however many it is called', async () => {
    const event = await oneEvent();
    const calls = Array.from({ length: 8 }, () =>
      one("SELECT fhir_move_outbox_to_dlq($1, 'again') AS dead", [event.id]),
    );
    const ids = new Set((await Promise.all(calls)).map((row) => row.dead));

    expect(ids.size).toBe(1);
    expect(await one('SELECT count(*)::int AS n FROM fhir_dlq WHERE outbox_id = $1', [event.id])).toEqual({ n: 1 });
  });

  test('says null for an outbox row that is not there', async () => {
    expect(await one("SELECT fhir_move_outbox_to_dlq(-1, 'none') AS dead")).toEqual({ dead: null });
  });
});

test('fhir_mark_event_processed remembers an event once', async () => {
  for (let time = 0; time < 2; time += 1) await db.pool.query("SELECT fhir_mark_event_processed('Patient/1/1')");
  expect(await one("SELECT count(*)::int AS n FROM fhir_processed_event WHERE event_key = 'Patient/1/1'")).toEqual({
    n: 1,
  });
});

describe('fhir_cleanup_old', () => {
  test('removes what is finished and old, and nothing unfinished, however old', async () => {
    const [old, recent, waiting, unresolved, resolved] = [
      await oneEvent(),
      await oneEvent(),
      await oneEvent(),
      await oneEvent(),
      await oneEvent(),
    ];
    await db.pool.query(`SELECT fhir_move_outbox_to_dlq(id, 'x') FROM unnest($1::bigint[]) AS id`, [
      [unresolved.id, resolved.id],
    ]);
    await db.pool.query("UPDATE fhir_outbox SET created_at = now() - interval '900 days' WHERE id = ANY ($1)", [
      [old.id, waiting.id],
    ]);
    await db.pool.query(
      "UPDATE fhir_outbox SET processed = true, processed_at = now() - interval '11 days' WHERE id = $1",
      [old.id],
    );
    await db.pool.query('UPDATE fhir_outbox SET processed = true, processed_at = now() WHERE id = $1', [recent.id]);
    await db.pool.query(
      "UPDATE fhir_dlq SET first_failed_at = now() - interval '900 days', last_failed_at = now() - interval '900 days'",
    );
    await db.pool.query(
      "UPDATE fhir_dlq SET resolved_at = now() - interval '31 days', resolution = 'discarded' WHERE outbox_id = $1",
      [resolved.id],
    );
    await db.pool.query(
      `INSERT INTO fhir_processed_event (event_key, processed_at) VALUES ('old', now() - interval '31 days'), ('young', now() - interval '29 days')`,
    );

    expect(await one('SELECT * FROM fhir_cleanup_old(10)')).toEqual({
      outbox_rows: '1',
      dlq_rows: '1',
      processed_events: '1',
    });
    const left = await db.pool.query<{ id: string }>('SELECT id FROM fhir_outbox');
    expect(left.rows.map((row) => row.id)).toEqual(expect.arrayContaining([recent.id, waiting.id]));
    expect(left.rows.map((row) => row.id)).not.toContain(old.id);
    expect(await one('SELECT count(*)::int AS n FROM fhir_dlq WHERE outbox_id = $1', [unresolved.id])).toEqual({
      n: 1,
    });
  });

  test.each(['0', '-5', 'NULL'])('refuses %s days', async (days) => {
    await expect(db.pool.query(`SELECT fhir_cleanup_old(${days})`)).rejects.toThrow('at least 1 day');
  });
});

describe('fhir_emit_patient', () => {
  /** As if the patient had been delivered with its identifiers. */
  async function link(patientId: number): Promise<void> {
    await db.pool.query(
      `INSERT INTO fhir_link_identifier (resource_type, system, value, source_id)
       SELECT 'Patient', coalesce(identifier_system, ''), identifier_value, id FROM patient WHERE id = $1
       UNION ALL
       SELECT 'Patient', coalesce(identifier_system, ''), identifier_value, patient_id FROM patient_other_identifiers WHERE patient_id = $1`,
      [patientId],
    );
  }

  test('writes the current state as an update that changes no identifier, with the next revision', async () => {
    const patient = await insertPatient(db.pool, ['o']);
    await link(patient.id);
    let returned: unknown;
    const [event, ...more] = await eventsOf(db.pool, async () => {
      returned = (await one('SELECT fhir_emit_patient($1) AS id', [patient.id])).id;
    });

    expect(more).toEqual([]);
    expect(event).toMatchObject({
      id: returned,
      table_name: 'patient',
      operation: 'U',
      patient_revision: '3',
      previous_identifiers: null,
    });
    expect(event?.payload_json).toMatchObject({
      identifier_value: patient.mrn,
      other_identifiers: [{ identifier_value: 'o' }],
    });
  });

  test('names the identifiers that the FHIR resource has, where the patient has others', async () => {
    const patient = await insertPatient(db.pool);
    const previous = async () =>
      (await eventsOf(db.pool, `SELECT fhir_emit_patient(${patient.id})`))[0]?.previous_identifiers;
    expect(await previous()).toEqual([]);
    await link(patient.id);
    await db.pool.query("UPDATE patient SET identifier_value = 'changed' WHERE id = $1", [patient.id]);
    expect(await previous()).toMatchObject([{ value: patient.mrn, primary: false }]);
  });

  test('writes a delete without payload for a patient that is gone', async () => {
    const patient = await insertPatient(db.pool);
    await db.pool.query('DELETE FROM patient WHERE id = $1', [patient.id]);
    const [event] = await eventsOf(db.pool, `SELECT fhir_emit_patient(${patient.id})`);
    expect(event).toMatchObject({
      operation: 'D',
      patient_id: patient.id,
      payload_json: {},
      previous_identifiers: null,
      patient_revision: '3',
    });
  });
});

describe('fhir_replay_dead_letters', () => {
  test('called twice at once writes one event, and keeps no dead letter locked while it waits for a writer', async () => {
    const event = await oneEvent();
    const { dead } = await one("SELECT fhir_move_outbox_to_dlq($1, 'refused') AS dead", [event.id]);
    const writer = await db.pool.connect();
    await writer.query(`BEGIN; UPDATE patient SET email = 'writing' WHERE id = ${event.patient_id}`);
    const replays = ['a', 'b'].map((reason) =>
      one('SELECT result, outbox_id FROM fhir_replay_dead_letters(ARRAY[$1::bigint], $2)', [dead, reason]),
    );
    await expect
      .poll(
        async () =>
          (
            await one(
              "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock' AND query ~ 'fhir_replay'",
              [db.name],
            )
          ).n,
        { timeout: 30_000 },
      )
      .toBe(2);
    // The connector would wait for it with all that it records at that moment.
    expect(
      await one('SELECT count(*)::int AS n FROM (SELECT FROM fhir_dlq WHERE id = $1 FOR UPDATE NOWAIT) AS q', [dead]),
    ).toEqual({
      n: 1,
    });
    await writer.query('COMMIT');
    writer.release();
    const results = await Promise.all(replays);
    expect(results.map(({ result }) => result).toSorted()).toEqual(['replayed', 'resolved']);
    expect(
      await one(
        "SELECT count(*)::int AS n FROM fhir_outbox WHERE patient_id = $1 AND payload_json ->> 'email' = 'writing'",
        [event.patient_id],
      ),
      // The writer's own and one replay.
    ).toEqual({ n: 2 });
  });
});

test('fhir_ensure_publication makes a publication of inserts into the outbox, once', async () => {
  expect(await one('SELECT fhir_ensure_publication(\'another "pub"\') AS created')).toEqual({ created: true });
  expect(await one('SELECT fhir_ensure_publication(\'another "pub"\') AS created')).toEqual({ created: false });
  expect(
    await one(
      `SELECT pubinsert, pubupdate, pubdelete, pubtruncate, t.tablename
       FROM pg_publication p JOIN pg_publication_tables t USING (pubname) WHERE pubname = 'another "pub"'`,
    ),
  ).toEqual({ pubinsert: true, pubupdate: false, pubdelete: false, pubtruncate: false, tablename: 'fhir_outbox' });
});

describe('a publication', () => {
  const columns = async (name: string) => {
    const { rows } = await db.pool.query<{ attnames: string[] | null }>(
      `SELECT array_agg(a::text ORDER BY a) AS attnames FROM pg_publication_tables t, unnest(t.attnames) AS a WHERE pubname = $1`,
      [name],
    );
    return rows[0]?.attnames;
  };
  const read = [
    'attempts',
    'id',
    'operation',
    'patient_id',
    'patient_revision',
    'payload_json',
    'previous_identifiers',
  ];
  const rest = ['record_id', 'table_name', 'traceparent', 'txid'];

  test('hands out the columns that the connector reads', async () => {
    await one("SELECT fhir_ensure_publication('narrow') AS created");
    expect(await columns('narrow')).toEqual([...read, ...rest]);
  });

  test('that an earlier version made with all columns is brought up to date', async () => {
    await db.pool.query("CREATE PUBLICATION earlier FOR TABLE fhir_outbox WITH (publish = 'insert')");
    await one("SELECT fhir_ensure_publication('earlier') AS created");
    expect(await columns('earlier')).toEqual([...read, ...rest]);
  });

  test('of a shard hands out the same columns of its rows, and of one shard alone all', async () => {
    await one("SELECT fhir_ensure_publication('a_shard', 4, 3) AS created");
    expect(await columns('a_shard')).toEqual([...read, ...rest]);
    expect(await one("SELECT fhir_ensure_publication('a_shard', 4, 3) AS created")).toEqual({ created: false });
    await one("SELECT fhir_ensure_publication('the_only_one', 1, 0) AS created");
    expect(
      await one(
        "SELECT count(*)::int AS n FROM pg_publication_tables WHERE pubname = 'the_only_one' AND rowfilter IS NULL",
      ),
    ).toEqual({ n: 1 });
  });

  test.each([
    [0, 0],
    [4, 4],
    [4, -1],
  ])('of a shard that there is not is refused: of %i the number %i', async (count, index) => {
    await expect(db.pool.query(`SELECT fhir_ensure_publication('none', ${count}, ${index})`)).rejects.toMatchObject({
      code: '22023',
    });
  });

  test('is dropped by fhir_drop_publication, unless it has more than the outbox', async () => {
    await one("SELECT fhir_ensure_publication('left', 2, 0) AS created");
    await db.pool.query("CREATE PUBLICATION of_others FOR TABLE fhir_outbox, patient WITH (publish = 'insert')");
    for (const [name, dropped] of [
      ['left', true],
      ['left', false],
      ['of_others', false],
    ])
      expect(await one(`SELECT fhir_drop_publication('${name}') AS dropped`)).toEqual({ dropped });
    expect(await one("SELECT count(*)::int AS n FROM pg_publication WHERE pubname = 'of_others'")).toEqual({ n: 1 });
  });

  test.each([
    ['of other columns', 'fhir_outbox (id, txid)'],
    ['of some rows', "fhir_outbox WHERE (table_name = 'patient')"],
    ['of other tables too', 'fhir_outbox, patient'],
    ['of a schema too', 'fhir_outbox, TABLES IN SCHEMA public'],
  ])('%s stays as it is: somebody made it so', async (_, tables) => {
    const name = `theirs ${tables}`;
    await db.pool.query(`CREATE PUBLICATION "${name}" FOR TABLE ${tables} WITH (publish = 'insert')`);
    const before = await columns(name);
    await one(`SELECT fhir_ensure_publication('${name.replaceAll("'", "''")}') AS created`);
    expect(await columns(name)).toEqual(before);
  });
});

describe('beside 200,000 processed events', () => {
  beforeAll(async () => {
    await db.pool.query(
      `INSERT INTO fhir_outbox (txid, table_name, record_id, operation, payload_json, patient_revision, processed, processed_at)
       SELECT n, 'patient', n, 'U', '{"name_family": "a payload of some length, as they are"}', n, true, now() FROM generate_series(1, 200000) n`,
    );
    await db.pool.query('UPDATE fhir_outbox SET processed = true, processed_at = now() WHERE NOT processed');
    await db.pool.query('VACUUM ANALYZE fhir_outbox');
    await insertPatient(db.pool);
    await insertPatient(db.pool);
    await db.pool.query(
      "UPDATE fhir_outbox SET next_retry_at = now() + interval '1 hour' WHERE id = (SELECT max(id) FROM fhir_outbox)",
    );
  });

  test.each([
    ['the pending view', 'SELECT count(*)::int AS n FROM vw_fhir_pending_txids', 1],
    ['the gauges', 'SELECT count(*)::int AS n, min(created_at) AS oldest FROM fhir_outbox WHERE NOT processed', 2],
  ])('%s answers within 50 ms', async (_name, sql, expected) => {
    const times: number[] = [];
    for (let time = 0; time < 5; time += 1) {
      const start = performance.now();
      expect((await one(sql)).n).toBe(expected);
      times.push(performance.now() - start);
    }
    expect(Math.min(...times)).toBeLessThan(50);
  });
});
