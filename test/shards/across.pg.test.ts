// What reaches across shards: identifiers that go from one patient to another, and what refers to another patient's row. With
// one connector all of it goes as with two.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Body, type Fault, FhirLedger, tokensOf } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';
import { ALL_RESOURCES } from '../support/patients.ts';
import { Shards } from '../support/shards.ts';
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

describe.each([
  { name: 'one connector', count: 1 },
  { name: 'two connectors', count: 2 },
])('$name', ({ count }) => {
  describe('an identifier, taken in a transaction that had changed its patient before the other one gave it up,', () => {
    it('goes to that patient when the other one has given it up', async () => {
      await connectors.start(count, { timeoutMs: 2000 });
      await sql(insert(2, 'x', 'Ada'));
      await allProcessed(database);
      const held = hold(({ telecom }) => telecom !== undefined);
      await betweenTwoHalves(
        `BEGIN; ${insert(1, 'b', 'Bob')}`,
        [`UPDATE patient SET identifier_value = 'y', phone_number = '1' WHERE id = 2`],
        `UPDATE patient SET identifier_value = 'x' WHERE id = 1; COMMIT`,
      );
      await held.arrived;
      await passedBy(4);
      held.release();
      await allProcessed(database);
      expect(people()).toEqual(['Ada y', 'Bob x', 'Eve 4']);
      expect(await deadLetters()).toEqual([]);
    });

    it('goes to that patient also where the other one is on its first way', async () => {
      await connectors.start(count);
      const held = hold((body) => family(body) === 'Ada' && tokensOf(body)[0] === 't|x');
      await betweenTwoHalves(
        `BEGIN; ${insert(1, 'b', 'Bob')}`,
        [insert(2, 'x', 'Ada'), `UPDATE patient SET identifier_value = 'y' WHERE id = 2`],
        `UPDATE patient SET identifier_value = 'x' WHERE id = 1; COMMIT`,
      );
      await held.arrived;
      await passedBy(4);
      held.release();
      await allProcessed(database);
      expect(people()).toEqual(['Ada y', 'Bob x', 'Eve 4']);
      expect(mixedUp()).toEqual([]);
    });

    it('and given up in that very transaction, by who is on its first way, goes to that patient after it', async () => {
      await connectors.start(count);
      const held = hold((body) => family(body) === 'Ada' && tokensOf(body)[0] === 't|x');
      await sql(insert(2, 'x', 'Ada'));
      await held.arrived;
      await sql(`BEGIN; ${insert(1, 'b', 'Bob')}; UPDATE patient SET identifier_value = 'y' WHERE id = 2;
        UPDATE patient SET identifier_value = 'x' WHERE id = 1; COMMIT`);
      await passedBy(4);
      held.release();
      await allProcessed(database);
      expect(people()).toEqual(['Ada y', 'Bob x', 'Eve 4']);
      expect(mixedUp()).toEqual([]);
    });
  });

  it('an identifier that goes to a patient who has a resource, in one transaction, from who is on the first way, goes after it', async () => {
    await connectors.start(count);
    await sql(insert(2, 'w', 'Bob'));
    await allProcessed(database);
    const held = hold((body) => family(body) === 'Ada' && tokensOf(body)[0] === 't|x');
    await sql(insert(1, 'x', 'Ada'));
    await held.arrived;
    await sql(
      `BEGIN; UPDATE patient SET identifier_value = 'y' WHERE id = 1; UPDATE patient SET identifier_value = 'x' WHERE id = 2; COMMIT`,
    );
    await passedBy(4);
    held.release();
    await allProcessed(database);
    expect(people()).toEqual(['Ada y', 'Bob x', 'Eve 4']);
    expect(mixedUp()).toEqual([]);
  });

  it('a patient who came and went in one transaction does not touch who had the identifier before, and whose answer is lost', async () => {
    await connectors.start(count, { timeoutMs: 2000 });
    let lost = 0;
    fhir.fault = ({ method, body }) => {
      if (method !== 'PUT' || family(body) !== 'Bob') return undefined;
      lost += 1;
      return lost === 1 ? { cut: 'silent-after' } : undefined;
    };
    await sql(insert(1, 'x', 'Bob'));
    await expect.poll(() => fhir.writes.length, SOON).toBe(1);
    await sql(`UPDATE patient SET identifier_value = 'y' WHERE id = 1`);
    await sql(`BEGIN; ${insert(2, 'x', 'Ada')}; DELETE FROM patient WHERE id = 2; COMMIT`);
    await allProcessed(database);
    expect(people()).toEqual(['Bob y']);
    expect(mixedUp()).toEqual([]);
  });

  it('a form whose transaction moved it to a patient who is refused is not sent as it never was', async () => {
    await connectors.start(count, { resources: ALL_RESOURCES });
    await sql(insert(1, 'one', 'One'));
    await allProcessed(database);
    const held = hold(
      ({ telecom }) => telecom !== undefined,
      ({ method, body }) => (method === 'PUT' && family(body) === 'Two' ? { status: 422 } : undefined),
    );
    await sql(insert(2, 'two', 'Two'));
    await expect.poll(deadLetters, SOON).toHaveLength(1);
    await sql(`UPDATE patient SET phone_number = '1' WHERE id = 1`);
    await held.arrived;
    await sql(
      `BEGIN; INSERT INTO form (id, patient_id, name) VALUES (7, 1, 'Physical'); UPDATE form SET patient_id = 2 WHERE id = 7; COMMIT`,
    );
    await expect.poll(deadLetters, SOON).toHaveLength(2);
    held.release();
    await allProcessed(database);
    expect(fhir.writes.filter(({ body }) => body?.resourceType === 'Encounter')).toEqual([]);
  });

  it('readings and forms that refer to each other’s patients in a circle are all delivered', async () => {
    await sql(`${insert(1, 'one', 'One')}; ${insert(2, 'two', 'Two')}`);
    await sql(
      `ALTER TABLE form DISABLE TRIGGER USER; INSERT INTO form (id, patient_id, name) VALUES (7, 1, 'Physical'); ALTER TABLE form ENABLE TRIGGER USER`,
    );
    await sql('INSERT INTO pulse (id, patient_id, form_id, rate) VALUES (5, 2, 7, 60)');
    await sql(`INSERT INTO form (id, patient_id, name) VALUES (9, 2, 'Nine')`);
    await sql('UPDATE form SET patient_id = 1 WHERE id = 9');
    await sql(`UPDATE form SET name = 'Dental' WHERE id = 7`);
    await connectors.start(count, { resources: ALL_RESOURCES });
    // As of one moment: what is sent again is a dead letter before it, and an outbox row after it.
    const left = `SELECT (SELECT count(*)::int FROM fhir_outbox WHERE NOT processed) AS rows,
      (SELECT count(*)::int FROM fhir_dlq WHERE resolved_at IS NULL) AS "deadLetters"`;
    await expect.poll(async () => (await database.pool.query(left)).rows, SOON).toEqual([{ rows: 0, deadLetters: 0 }]);
    expect([...fhir.resources.values()].map(({ resourceType }) => resourceType).toSorted()).toEqual([
      'Encounter',
      'Encounter',
      'Observation',
      'Patient',
      'Patient',
    ]);
  });
});

it('a patient who waits for a shard that nobody serves is told of, after some seconds', async () => {
  await connectors.start(2);
  await sql(insert(1, 'x', 'Ada'));
  await allProcessed(database);
  await connectors.running[1]?.stop();
  await sql(`UPDATE patient SET identifier_value = 'y' WHERE id = 1`);
  await sql(insert(2, 'x', 'Bob'));
  const waits = /waits for a change that the connector of another shard has still to deliver/;
  await expect
    .poll(() => connectors.running[0]?.log.map(({ msg }) => msg), SOON)
    .toContainEqual(expect.stringMatching(waits));
  await expect
    .poll(async () => (await database.pool.query('SELECT last_error FROM fhir_outbox WHERE patient_id = 2')).rows, SOON)
    .toEqual([{ last_error: expect.stringMatching(waits) }]);
  expect(people()).toEqual(['Ada x']);
});

/** The PUTs of these resources wait until `release`; of others `also` decides. */
function hold(
  of: (body: Body) => boolean,
  also: (request: { method: string; body: Body | null }) => Fault | undefined = () => undefined,
) {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  fhir.fault = (request) => {
    if (request.method !== 'PUT' || !request.body || !of(request.body)) return also(request);
    arrive();
    return { delay: released };
  };
  return { arrived, release };
}

/** What comes behind and has nothing to do with all this is delivered: the others had their chance. */
async function passedBy(id: number): Promise<void> {
  await sql(insert(id, String(id), 'Eve'));
  await expect.poll(people, SOON).toContain(`Eve ${id}`);
}

/** The statements in the middle are transactions of their own. */
async function betweenTwoHalves(first: string, between: readonly string[], second: string): Promise<void> {
  await withClient(database.config, async (client) => {
    await client.query(first);
    for (const statement of between) await sql(statement);
    await client.query(second);
  });
}

function insert(id: number, mrn: string, name: string): string {
  return `INSERT INTO patient (id, identifier_system, identifier_value, name_family) VALUES (${id}, 't', '${mrn}', '${name}')`;
}

async function sql(text: string): Promise<void> {
  await database.pool.query(text);
}

/** Whose there are. */
async function deadLetters(): Promise<unknown[]> {
  const { rows } = await database.pool.query(
    'SELECT DISTINCT source_table, source_id FROM fhir_dlq WHERE resolved_at IS NULL',
  );
  return rows;
}

/** Resources of which two patients' data made versions. */
function mixedUp(): string[] {
  const names = Map.groupBy(fhir.writes, ({ id }) => id);
  return [...names]
    .filter(([, versions]) => new Set(versions.map(({ body }) => family(body))).size > 1)
    .map(([id]) => id);
}

function people(): string[] {
  return [...fhir.resources.values()].map((body) => `${family(body)} ${tokensOf(body)[0]?.split('|')[1]}`).toSorted();
}

function family(body: Body | null): string {
  return (body?.name as { family?: string }[] | undefined)?.[0]?.family ?? '';
}
