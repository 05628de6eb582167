// Several connectors on one outbox: each patient's changes come from one of them, in order, also while their number changes.
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { filterOf } from '../../src/shard.ts';
import { slotOf, startConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Body, FhirLedger, tokensOf } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';
import { ALL_RESOURCES } from '../support/patients.ts';
import { holds, Shards } from '../support/shards.ts';
import { withClient } from '../support/with-client.ts';

const SOON = { timeout: 30_000 };

let database: TestDatabase;
let fhir: FhirLedger;
let connectors: Shards;

beforeEach(async () => {
  database = await createDatabase('migrated', ALL_RESOURCES);
  fhir = await FhirLedger.start();
  connectors = new Shards(database, fhir.url);
});

afterEach(async () => {
  await connectors.stop();
  await database.drop();
  await fhir.stop();
});

describe('four connectors', () => {
  it('deliver each the changes of their own patients, and together all', async () => {
    await connectors.start(4, { resources: ALL_RESOURCES });
    await sql('INSERT INTO patient (id, identifier_value, name_text) SELECT n, n, n FROM generate_series(1, 100) AS n');
    await sql(`UPDATE patient SET name_text = id || ' again'`);
    await sql('INSERT INTO pulse (patient_id, rate) SELECT n, 60 FROM generate_series(1, 100) AS n');
    await allProcessed(database);
    expect([...fhir.resources.values()].filter(isPatient).map(nameOf).toSorted()).toEqual(
      Array.from({ length: 100 }, (_, n) => `${n + 1} again`).toSorted(),
    );
    expect(fhir.writes).toHaveLength(300);
    for (const [index, { log }] of connectors.running.entries()) {
      const delivered = log.filter(({ msg }) => msg === 'delivered');
      const patients = delivered.flatMap(({ eventKey }) => /^Patient\/(\d+)/.exec(String(eventKey))?.[1] ?? []);
      expect(patients).toHaveLength(50);
      expect(patients.every((id) => holds({ index, count: 4 }, Number(id)))).toBe(true);
      expect(delivered).toHaveLength(75);
    }
  });

  it('catch up each with what waits of their own patients', async () => {
    await sql('INSERT INTO patient (id, identifier_value, name_text) SELECT n, n, n FROM generate_series(1, 40) AS n');
    await connectors.start(4);
    await allProcessed(database);
    expect(fhir.writes).toHaveLength(40);
    for (const { log } of connectors.running)
      expect(log.find(({ msg }) => msg.startsWith('Catching up'))).toMatchObject({ rows: 10 });
  });

  it('have a slot and a publication each, whose row filter takes what src/shard.ts does', async () => {
    await connectors.start(4);
    const { rows } = await database.pool.query<{ pubname: string; rowfilter: string }>(
      "SELECT pubname, rowfilter FROM pg_publication_tables WHERE pubname ~ '_of_' ORDER BY pubname",
    );
    expect(rows.map(({ pubname }) => pubname)).toEqual([0, 1, 2, 3].map((index) => `fhir_outbox_pub_${index}_of_4`));
    expect(await slots()).toEqual([0, 1, 2, 3].map((index) => `${slotOf(database)}_${index}_of_4`));
    for (const [index, { rowfilter }] of rows.entries()) {
      const { rows: ids } = await database.pool.query<{
        patient_id: number | null;
        published: boolean;
        counted: boolean;
      }>(
        `SELECT patient_id, ${rowfilter} AS published, ${filterOf({ index, count: 4 })} AS counted
           FROM unnest(ARRAY[NULL, 0, 1, 2, 3, 4, 5, -1, -6, 2147483647, -2147483648]) AS patient_id`,
      );
      const ours = ids.map(({ patient_id: id }) => holds({ index, count: 4 }, id));
      expect(ids.map(({ published }) => published)).toEqual(ours);
      expect(ids.map(({ counted }) => counted)).toEqual(ours);
    }
  });

  it('make one dead letter of a row that names no patient', async () => {
    await connectors.start(4);
    await sql(
      `INSERT INTO fhir_outbox (txid, table_name, record_id, operation, payload_json, patient_revision)
       VALUES (pg_current_xact_id()::text::bigint, 'patient', 1, 'I', '{}', 1)`,
    );
    await allProcessed(database);
    expect((await database.pool.query('SELECT FROM fhir_dlq')).rowCount).toBe(1);
  });
});

describe('a form that goes to a patient of another shard', () => {
  beforeEach(async () => {
    await connectors.start(2, { resources: ALL_RESOURCES });
    for (const [id, name] of ['One', 'Two'].entries()) {
      await sql(`INSERT INTO patient (id, identifier_value, name_text) VALUES (${id + 1}, '${name}', '${name}')`);
      await allProcessed(database);
    }
  });

  it('while its change before is on its way, waits for that', async () => {
    const arrived: string[] = [];
    const release = Promise.withResolvers<void>();
    fhir.fault = ({ method, body }) => {
      if (method !== 'PUT' || body?.resourceType !== 'Encounter') return undefined;
      arrived.push(String((body.subject as Body).reference));
      return arrived.length === 1 ? { delay: release.promise } : undefined;
    };
    await sql(`INSERT INTO form (id, patient_id, name) VALUES (7, 1, 'Physical')`);
    await expect.poll(() => arrived, SOON).toHaveLength(1);
    await sql('UPDATE form SET patient_id = 2 WHERE id = 7');
    // What comes behind it in the other connector, of another patient, does not wait for it.
    await sql(`INSERT INTO patient (id, identifier_value, name_text) VALUES (4, 'four', 'Four')`);
    await expect.poll(() => [...fhir.resources.values()].map(nameOf), SOON).toContain('Four');
    const early = arrived.length;
    release.resolve();
    expect(early).toBe(1);
    await allProcessed(database);
    expect(arrived).toEqual(['Patient/r1', 'Patient/r2']);
    expect(encounters()).toEqual(['Patient/r2']);
    expect((await database.pool.query('SELECT FROM fhir_dlq')).rowCount).toBe(0);
  });

  it('and comes back, is written over what it is there, and not taken for somebody else’s edit', async () => {
    await sql(`INSERT INTO form (id, patient_id, name) VALUES (7, 1, 'Physical')`);
    for (const patient of [2, 1, 2, 1]) await sql(`UPDATE form SET patient_id = ${patient} WHERE id = 7`);
    await allProcessed(database);
    expect(encounters()).toEqual(['Patient/r1']);
    expect(fhir.writes.filter(({ body }) => body?.resourceType === 'Encounter').map(({ version }) => version)).toEqual([
      1, 2, 3, 4, 5,
    ]);
    expect(await connectors.total('foreignEdits')).toBe(0);
    expect(await connectors.total('superseded')).toBe(0);
  });

  it('in the transaction that changes it, is sent once, as it is in the end', async () => {
    await sql(`BEGIN; INSERT INTO form (id, patient_id, name) VALUES (7, 1, 'Physical'), (8, 2, 'Physical');
      UPDATE form SET patient_id = 2 WHERE id = 7; UPDATE form SET patient_id = 1 WHERE id = 8;
      UPDATE form SET patient_id = 1 WHERE id = 7; COMMIT`);
    await allProcessed(database);
    await sql(
      `BEGIN; UPDATE form SET name = 'Dental' WHERE id = 7; UPDATE form SET patient_id = 2 WHERE id = 7; COMMIT`,
    );
    await allProcessed(database);
    const written = fhir.writes.filter(({ body }) => body?.resourceType === 'Encounter');
    const subjects = Map.groupBy(written, ({ body }) => tokensOf(body)[0]?.split('|')[1]);
    expect(
      Object.fromEntries([...subjects].map(([id, versions]) => [id, versions.map(({ body }) => body?.subject)])),
    ).toEqual({
      'form/7': [{ reference: 'Patient/r1' }, { reference: 'Patient/r2' }],
      'form/8': [{ reference: 'Patient/r1' }],
    });
  });

  it('and a reading that refers to it there, which is delivered by the other connector, wait for it', async () => {
    const release = Promise.withResolvers<void>();
    const held: string[] = [];
    fhir.fault = ({ method, body }) => {
      if (method !== 'PUT' || body?.resourceType !== 'Encounter') return undefined;
      held.push('Encounter');
      return { delay: release.promise };
    };
    await sql(`INSERT INTO form (id, patient_id, name) VALUES (7, 1, 'Physical')`);
    await expect.poll(() => held, SOON).toHaveLength(1);
    // A reading waits for a second and is a dead letter then, which follows by itself: so what shows that it was looked at comes with it.
    await sql(`INSERT INTO pulse (patient_id, form_id, rate) VALUES (2, 7, 60);
      INSERT INTO patient (id, identifier_value, name_text) VALUES (4, 'four', 'Four')`);
    await expect.poll(() => [...fhir.resources.values()].map(nameOf), SOON).toContain('Four');
    release.resolve();
    await allProcessed(database);
    expect([...fhir.resources.values()].filter((body) => body.resourceType === 'Observation')).toHaveLength(1);
    expect((await database.pool.query('SELECT FROM fhir_dlq')).rowCount).toBe(0);
  });
});

describe('a link that a connector of another shard has ended', () => {
  it('is not gone by: the resource is somebody else’s by now', async () => {
    await connectors.start(2);
    await sql(`INSERT INTO patient (id, identifier_value, name_text) VALUES (1, 'one', 'One')`);
    await allProcessed(database);
    // The server is empty, and gives the id of the first patient's resource to the second one.
    fhir.lose();
    await sql(`INSERT INTO patient (id, identifier_value, name_text) VALUES (2, 'two', 'Two')`);
    await allProcessed(database);
    await sql(`UPDATE patient SET name_text = 'One again' WHERE id = 1`);
    await allProcessed(database);
    expect(Object.fromEntries([...fhir.resources].map(([id, body]) => [id, nameOf(body)]))).toEqual({
      r1: 'Two',
      r2: 'One again',
    });
    expect(fhir.writes.map(({ body }) => body && nameOf(body))).toEqual(['Two', 'One again']);
  });
});

describe('another number of shards', () => {
  it('stands by until the last connector with the number before has ended, and then takes its slots and publications away', async () => {
    await connectors.start(2);
    const four = Array.from({ length: 4 }, (_, index) =>
      startConnector(database, fhir.url, { shard: { index, count: 4 } }),
    );
    try {
      const states = () => four.map(({ metrics }) => metrics.connectorState.get());
      await expect.poll(states, SOON).not.toContain('starting');
      expect(states()).toEqual(Array(4).fill('standby'));
      await connectors.running[0]?.stop();
      await sql(`INSERT INTO patient (id, identifier_value, name_text) VALUES (1, 'one', 'One'), (2, 'two', 'Two')`);
      // The one that is left delivers its own.
      await expect.poll(() => [...fhir.resources.values()].map(nameOf), SOON).toEqual(['One']);
      expect(states()).toEqual(Array(4).fill('standby'));
      await connectors.stop();
      for (const { metrics } of four) await expect.poll(() => metrics.connectorState.get(), SOON).toBe('streaming');
      await allProcessed(database);
      expect([...fhir.resources.values()].map(nameOf)).toEqual(['One', 'Two']);
      expect(await slots()).toEqual([0, 1, 2, 3].map((index) => `${slotOf(database)}_${index}_of_4`));
      expect(await publications()).toEqual([0, 1, 2, 3].map((index) => `fhir_outbox_pub_${index}_of_4`));
    } finally {
      await Promise.all(four.map((connector) => connector.stop()));
    }
  });

  it('stands by while a connector from before there were shards has its turn, and keeps it from having one', async () => {
    // Two numbers: its own, and that of its slot's name.
    const turn = (take: string) => `SELECT ${take}(${0x46484952}, hashtext('${slotOf(database)}')) AS taken`;
    const before = new pg.Client(database.config);
    await before.connect();
    await before.query(turn('pg_advisory_lock'));
    const keepAlive = setInterval(() => before.query('SELECT'), 1000);
    const two = [0, 1].map((index) => startConnector(database, fhir.url, { shard: { index, count: 2 } }));
    const states = () => two.map(({ metrics }) => metrics.connectorState.get());
    try {
      await expect.poll(states, SOON).not.toContain('starting');
      expect(states()).toEqual(['standby', 'standby']);
      await before.query(turn('pg_advisory_unlock'));
      await expect.poll(states, SOON).toEqual(['streaming', 'streaming']);
      expect((await before.query(turn('pg_try_advisory_lock'))).rows).toEqual([{ taken: false }]);
    } finally {
      clearInterval(keepAlive);
      await before.end();
      await Promise.all(two.map((connector) => connector.stop()));
    }
  });

  it('does not wait for a session that has been silent for longer than a lease lasts', async () => {
    const dead = new pg.Client({ ...database.config, ...database.connector });
    dead.on('error', () => undefined);
    await dead.connect();
    // As a connector with seven shards that was stopped in its tracks.
    await dead.query(`SELECT pg_advisory_lock_shared(hashtext('fhir-connector shards of ${slotOf(database)}'), 7)`);
    await connectors.start(2);
    await expect(dead.query('SELECT')).rejects.toThrow();
  });

  it('from 1 to 4 to 2 to 1 while patients change: nothing is lost, and each patient’s changes arrive in order', async () => {
    const writing = new AbortController();
    await connectors.start(1, { resources: ALL_RESOURCES });
    await sql(
      `INSERT INTO patient (id, identifier_value, name_text) SELECT n, n, '0' FROM generate_series(1, 20) AS n`,
    );
    const writers = [1, 2].map((writer) => countUp(writer, writing.signal));
    for (const count of [4, 2, 1]) {
      await atLeast(fhir.writes.length + 100);
      await connectors.stop();
      await connectors.start(count, { resources: ALL_RESOURCES });
    }
    await atLeast(fhir.writes.length + 100);
    writing.abort();
    await Promise.all(writers);
    await allProcessed(database);
    const { rows } = await database.pool.query<{ name_text: string }>('SELECT name_text FROM patient ORDER BY id');
    expect([...fhir.resources.values()].filter(isPatient).map(nameOf).toSorted()).toEqual(
      rows.map(({ name_text }) => name_text).toSorted(),
    );
    for (const versions of Map.groupBy(fhir.writes, ({ id }) => id).values()) {
      const numbers = versions.map(({ body }) =>
        Number(
          nameOf(body ?? {})
            .split(' ')
            .at(-1),
        ),
      );
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }
    expect(await connectors.total('failed')).toBe(0);
    expect(await connectors.total('foreignEdits')).toBe(0);
    expect(await slots()).toEqual([slotOf(database)]);
  });
});

/** One statement after the other, each of which gives one patient's name its next number, until `signal` is aborted. */
async function countUp(writer: number, signal: AbortSignal): Promise<void> {
  await withClient(database.config, async (client) => {
    for (let n = writer; !signal.aborted; n += 1)
      await client.query(
        `UPDATE patient SET name_text = id || ' ' || split_part(name_text, ' ', -1)::int + 1 WHERE id = ${1 + (n % 20)}`,
      );
  });
}

async function atLeast(writes: number): Promise<void> {
  await expect.poll(() => fhir.writes.length, SOON).toBeGreaterThanOrEqual(writes);
}

async function sql(text: string): Promise<void> {
  await database.pool.query(text);
}

async function slots(): Promise<string[]> {
  const { rows } = await database.pool.query<{ name: string }>(
    'SELECT slot_name AS name FROM pg_replication_slots WHERE database = current_database() ORDER BY 1',
  );
  return rows.map(({ name }) => name);
}

async function publications(): Promise<string[]> {
  const { rows } = await database.pool.query<{ name: string }>('SELECT pubname AS name FROM pg_publication ORDER BY 1');
  return rows.map(({ name }) => name);
}

function encounters(): unknown[] {
  return [...fhir.resources.values()]
    .filter(({ resourceType }) => resourceType === 'Encounter')
    .map(({ subject }) => (subject as Body).reference);
}

function isPatient({ resourceType }: Body): boolean {
  return resourceType === 'Patient';
}

function nameOf(body: Body): string {
  return (body.name as { text?: string }[] | undefined)?.[0]?.text ?? '';
}
