// Identity: whatever happens to identifiers, no patient's data lands on another patient's resource.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { US_CORE_PATIENT } from '../fhir/planted-faults.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Body, FhirLedger, tokensOf } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';
import { Shards } from '../support/shards.ts';

const SOON = { timeout: 20_000 };

let database: TestDatabase;
let fhir: FhirLedger;
let connectors: Shards;

/** With two, odd and even numbers are different connectors'. */
const FLEETS = [
  { name: 'one connector', count: 1 },
  { name: 'two connectors', count: 2 },
];

describe.each(FLEETS)('$name', ({ count }) => {
  beforeEach(async () => {
    database = await createDatabase();
    fhir = await FhirLedger.start();
    connectors = new Shards(database, fhir.url);
    // From here on links are cached.
    await connectors.start(count);
  });

  afterEach(async () => {
    await connectors.stop();
    await database.drop();
    await fhir.stop();
  });

  describe('a changed identifier', () => {
    it('stays with its resource', async () => {
      await insert(1, 'X', 'Ada');
      await allProcessed(database);
      await sql(`UPDATE patient SET identifier_value = 'Y' WHERE id = 1`);
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y' });
    });

    it('moved to another patient, leaves the first one the resource and gives the second one a new resource', async () => {
      await insert(1, 'X', 'Ada');
      await sql(`UPDATE patient SET identifier_value = 'Y' WHERE id = 1`);
      await insert(2, 'X', 'Bob');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y', r2: 'Bob t|X' });
    });

    it('moved within one transaction to a new patient, whoever was changed first, gives that one a new resource', async () => {
      await insert(5, 'X', 'Ada');
      await sql(`UPDATE patient SET email = 'ada@example.com' WHERE id = 5`);
      await allProcessed(database);
      await sql(`BEGIN; UPDATE patient SET identifier_value = 'Y' WHERE id = 5;
      INSERT INTO patient (id, identifier_system, identifier_value, name_family) VALUES (1, 't', 'X', 'Bob'); COMMIT`);
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y', r2: 'Bob t|X' });
      expect(await deadLetters()).toEqual([]);
    });

    it.each(['in transactions of their own', 'in one transaction'])(
      'moved to a patient with a lower id %s, is caught up with in the order of the commits',
      async (how) => {
        await insert(5, 'X', 'Ada');
        await allProcessed(database);
        await connectors.stop();
        await sql('UPDATE fhir_slot SET caught_up_at = NULL');
        const changes = [
          `UPDATE patient SET identifier_value = 'Y' WHERE id = 5`,
          `INSERT INTO patient (id, identifier_system, identifier_value, name_family) VALUES (1, 't', 'X', 'Bob')`,
          `UPDATE patient SET email = 'ada@example.com' WHERE id = 5`,
        ];
        if (how === 'in one transaction') await sql(`BEGIN; ${changes.join('; ')}; COMMIT`);
        else for (const change of changes) await sql(change);
        await connectors.start(count);
        await allProcessed(database);
        expect(people()).toEqual({ r1: 'Ada t|Y', r2: 'Bob t|X' });
        expect(await deadLetters()).toEqual([]);
      },
    );

    it('swapped between two patients in one transaction, leaves each with its own resource', async () => {
      await insert(1, 'X', 'Ada');
      await allProcessed(database);
      await insert(2, 'Y', 'Bob');
      await allProcessed(database);
      await sql(`BEGIN; UPDATE patient SET identifier_value = 'tmp' WHERE id = 1;
      UPDATE patient SET identifier_value = 'X' WHERE id = 2; UPDATE patient SET identifier_value = 'Y' WHERE id = 1; COMMIT`);
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y', r2: 'Bob t|X' });
    });

    it('taken in the statement that takes it from a patient with a higher id, gives each a resource of its own', async () => {
      await insert(6, 'X', 'Ada');
      await allProcessed(database);
      // Its row of the outbox comes first. (Of the unique constraint PostgreSQL looks at one row after the other, as they lie there.)
      await insert(1, 'W', 'Bob');
      await sql(`UPDATE patient SET identifier_value = CASE id WHEN 6 THEN 'Y' ELSE 'X' END`);
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y', r2: 'Bob t|X' });
      expect(await deadLetters()).toEqual([]);
    });

    it('taken by another patient while the one that gives it up is on its way for the first time, waits for that one', async () => {
      const { arrived, release } = holdFirstPut();
      await insert(1, 'X', 'Ada');
      await expect.poll(() => arrived, SOON).toEqual(['t|X']);
      await sql(`UPDATE patient SET identifier_value = 'Y' WHERE id = 1`);
      await insert(2, 'X', 'Bob');
      // Who comes after them and has nothing to do with them is delivered: they had their chance.
      await insert(3, 'Z', 'Eve');
      await expect.poll(() => Object.values(people()), SOON).toContain('Eve t|Z');
      const early = [...arrived];
      release();
      expect(early).toEqual(['t|X', 't|Z']);
      await allProcessed(database);
      expect(Object.values(people()).toSorted()).toEqual(['Ada t|Y', 'Bob t|X', 'Eve t|Z']);
      expect(await deadLetters()).toEqual([]);
    });

    it('taken by a patient who has a resource already, waits as well for the one that gives it up on its first way', async () => {
      await insert(2, 'W', 'Bob');
      await allProcessed(database);
      const { arrived, release } = holdFirstPut();
      await insert(1, 'X', 'Ada');
      await expect.poll(() => arrived, SOON).toEqual(['t|X']);
      await sql(`UPDATE patient SET identifier_value = 'Y' WHERE id = 1`);
      await sql(`UPDATE patient SET identifier_value = 'X' WHERE id = 2`);
      await insert(4, 'Z', 'Eve');
      await expect.poll(() => Object.values(people()), SOON).toContain('Eve t|Z');
      const early = [...arrived];
      release();
      expect(early).toEqual(['t|X', 't|Z']);
      await allProcessed(database);
      expect(Object.values(people()).toSorted()).toEqual(['Ada t|Y', 'Bob t|X', 'Eve t|Z']);
      expect(await deadLetters()).toEqual([]);
    });

    it('given up in a delivery that failed, is refused to the next patient: the server still has it at the first one', async () => {
      await insert(1, 'X', 'Ada');
      await allProcessed(database);
      fhir.fault = ({ body }) => (tokensOf(body).includes('t|Y') ? { status: 422 } : undefined);
      await sql(`UPDATE patient SET identifier_value = 'Y' WHERE id = 1`);
      await insert(2, 'X', 'Bob');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|X' });
      expect(await deadLetters()).toEqual([
        { source_id: '1', http_status: 422, error_text: expect.stringContaining('does not accept the resource') },
        { source_id: '2', http_status: null, error_text: expect.stringContaining('another living row (id 1)') },
      ]);
    });

    it('given up in a delivery that failed, goes to who was refused it when both are replayed at once', async () => {
      await insert(2, 'X', 'Ada');
      await allProcessed(database);
      fhir.fault = ({ body }) => (tokensOf(body).includes('t|Y') ? { status: 422 } : undefined);
      await sql(`UPDATE patient SET identifier_value = 'Y' WHERE id = 2`);
      await insert(1, 'X', 'Bob');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|X' });
      fhir.fault = () => undefined;
      await sql(`SELECT fhir_replay_dead_letters(array_agg(id), 'test') FROM fhir_dlq`);
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y', r2: 'Bob t|X' });
      expect(await links()).toEqual({ 1: 'r2', 2: 'r1' });
      // What the first one has now is known too: nobody else gets it, and its former one is free.
      await sql('DELETE FROM patient WHERE id = 1');
      await insert(3, 'X', 'Cyd');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y', r2: 'Cyd t|X' });
      expect((await deadLetters()).length).toBe(2);
    });

    it('given up in a delivery that failed, is free once any later change of that patient is delivered', async () => {
      await insert(1, 'X', 'Ada');
      await allProcessed(database);
      fhir.fault = ({ body }) => (tokensOf(body).includes('t|Y') ? { status: 422 } : undefined);
      await sql(`UPDATE patient SET identifier_value = 'Y' WHERE id = 1`);
      await allProcessed(database);
      fhir.fault = () => undefined;
      await sql(`UPDATE patient SET email = 'ada@example.com' WHERE id = 1`);
      await allProcessed(database);
      await insert(2, 'X', 'Bob');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y', r2: 'Bob t|X' });
    });

    it('given up in a delivery that PostgreSQL refused to record, is free once a later change is delivered', async () => {
      await insert(1, 'X', 'Ada');
      await allProcessed(database);
      await sql(`ALTER TABLE fhir_link ADD CONSTRAINT refused CHECK (version_id IS DISTINCT FROM '2')`);
      await sql(`UPDATE patient SET identifier_value = 'Y' WHERE id = 1`);
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y' });
      expect(await deadLetters()).toMatchObject([{ error_text: expect.stringContaining('SQLSTATE 23514') }]);
      expect(await connectors.total('failed')).toBe(1);
      await sql('ALTER TABLE fhir_link DROP CONSTRAINT refused');
      await sql(`UPDATE patient SET email = 'ada@example.com' WHERE id = 1`);
      await allProcessed(database);
      await insert(2, 'X', 'Bob');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y', r2: 'Bob t|X' });
    });

    it('delivered with a later change only, and given up in one that failed, is refused to the next patient', async () => {
      await insert(1, 'X', 'Ada');
      await allProcessed(database);
      const refuse = (...tokens: string[]) => {
        fhir.fault = ({ body }) =>
          tokensOf(body).some((token) => tokens.includes(token)) ? { status: 422 } : undefined;
      };
      refuse('t|Y');
      await sql(`UPDATE patient SET identifier_value = 'Y' WHERE id = 1`);
      await allProcessed(database);
      refuse('t|Z');
      await sql(`UPDATE patient SET email = 'ada@example.com' WHERE id = 1`);
      await sql(`UPDATE patient SET identifier_value = 'Z' WHERE id = 1`);
      await allProcessed(database);
      await insert(2, 'Y', 'Bob');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y' });
      expect((await deadLetters()).at(-1)).toMatchObject({
        source_id: '2',
        error_text: expect.stringContaining('another living row (id 1)'),
      });
    });
  });

  describe('a changed identifier that the server took without our hearing of it', () => {
    it('is refused to the next patient, though its change is a dead letter and it was given up in another one', async () => {
      await insert(1, 'X', 'Ada');
      await allProcessed(database);
      await connectors.stop();
      await connectors.start(count, { maxRetries: 0 });
      const isAda = (path: string) => path.startsWith('Patient/r1');
      fhir.fault = ({ method, path, body }) => {
        if (method === 'PUT' && tokensOf(body).includes('t|Y')) return { cut: 'after' };
        return isAda(path) ? { status: 500 } : undefined;
      };
      await sql(`UPDATE patient SET identifier_value = 'Y' WHERE id = 1`);
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y' });
      await sql(`UPDATE patient SET identifier_value = 'Z' WHERE id = 1`);
      await allProcessed(database);
      fhir.fault = undefined;
      await insert(2, 'Y', 'Bob');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Y' });
      expect((await deadLetters()).map(({ source_id }) => source_id)).toEqual(['1', '1', '2']);
      // Once it is known again what the resource carries, the identifier is free.
      await sql(`UPDATE patient SET email = 'ada@example.com' WHERE id = 1`);
      await allProcessed(database);
      await sql(`UPDATE patient SET email = 'bob@example.com' WHERE id = 2`);
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|Z', r2: 'Bob t|Y' });
    });
  });

  describe('a first contact whose answer was lost', () => {
    it.each([404, 405])(
      'and whose resource the search finds and a PUT answers with %i, is a dead letter',
      async (status) => {
        await connectors.stop();
        await connectors.start(count, { maxRetries: 1 });
        let byId = 0;
        fhir.fault = ({ method, path }) => {
          if (method !== 'PUT') return undefined;
          if (path.includes('?')) return { cut: 'after' };
          byId += 1;
          return { status };
        };
        await insert(1, 'X', 'Ada');
        await allProcessed(database);
        expect(people()).toEqual({ r1: 'Ada t|X' });
        expect(await deadLetters()).toMatchObject([{ source_id: '1', http_status: status }]);
        expect(byId).toBeLessThanOrEqual(2);
      },
    );
  });

  describe('a write in whose middle the database does not answer', () => {
    it('asks the database again, and the FHIR server nothing', async () => {
      const searched = Promise.withResolvers<void>();
      let searches = 0;
      let puts = 0;
      fhir.fault = ({ method, path }) => {
        if (method === 'PUT') puts += 1;
        if (method === 'PUT' && puts === 1) return { cut: 'after' };
        if (method !== 'GET' || !path.includes('?identifier=')) return undefined;
        searches += 1;
        return { delay: searched.promise };
      };
      await insert(1, 'X', 'Ada');
      await expect.poll(() => searches, SOON).toBe(1);
      // Whose the found resource is will be asked next.
      const blocker = await database.pool.connect();
      await blocker.query('BEGIN; LOCK TABLE fhir_link IN ACCESS EXCLUSIVE MODE');
      searched.resolve();
      const cancelled = `SELECT pg_cancel_backend(pid) FROM pg_stat_activity
      WHERE wait_event_type = 'Lock' AND query LIKE '%"fhir_id" =%' AND datname = current_database()`;
      await expect.poll(async () => (await database.pool.query(cancelled)).rowCount, SOON).toBe(1);
      await blocker.query('COMMIT');
      blocker.release();
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|X' });
      expect({ searches, puts }).toEqual({ searches: 1, puts: 2 });
    });
  });

  describe('an identifier that two patients carry', () => {
    it("primary of one and other identifier of a living one, does not lead to the other's resource", async () => {
      await insert(1, 'X', 'Ada', ['Z']);
      await allProcessed(database);
      await insert(2, 'Z', 'Bob');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|X t|Z' });
      // Not for a moment.
      expect(fhir.writes).toHaveLength(1);
      expect(await deadLetters()).toEqual([
        { source_id: '2', http_status: null, error_text: expect.stringContaining('another living row (id 1)') },
      ]);
    });

    it('as a placeholder among the others, keeps nobody from the server', async () => {
      for (let id = 1; id <= 60; id += 1) await insert(id, `M${id}`, `P${id}`, ['000-00-0000']);
      await allProcessed(database);
      expect(Object.values(people()).toSorted()).toEqual(
        Array.from({ length: 60 }, (_, index) => `P${index + 1} t|M${index + 1} t|000-00-0000`).toSorted(),
      );
    });

    it('on the server already, at several resources, is a dead letter that says so', async () => {
      fhir.write('a', patient('X', 'Somebody'));
      fhir.write('b', patient('X', 'Somebody again'));
      await insert(1, 'X', 'Ada');
      await allProcessed(database);
      expect(people()).toEqual({ a: 'Somebody t|X', b: 'Somebody again t|X' });
      expect(await deadLetters()).toEqual([
        { source_id: '1', http_status: 412, error_text: expect.stringContaining('merge them there') },
      ]);
    });
  });

  describe('a deleted patient', () => {
    it('registered again with the same identifier, goes on with the same resource', async () => {
      await insert(1, 'X', 'Ada');
      await sql('DELETE FROM patient WHERE id = 1');
      await allProcessed(database);
      await insert(2, 'X', 'Ada again');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada again t|X' });
      expect(await links()).toEqual({ 1: null, 2: 'r1' });
    });

    it('revived under another identifier after somebody else took over its resource, gets a resource of its own', async () => {
      await insert(1, 'X', 'Ada');
      await sql('DELETE FROM patient WHERE id = 1');
      await insert(2, 'X', 'Bob');
      await allProcessed(database);
      await insert(1, 'Y', 'Ada');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Bob t|X', r2: 'Ada t|Y' });
      expect(await links()).toEqual({ 1: 'r2', 2: 'r1' });
    });

    it('revived under another identifier while somebody else takes over its resource, gets a resource of its own', async () => {
      await insert(1, 'X', 'Ada');
      await sql('DELETE FROM patient WHERE id = 1');
      await allProcessed(database);
      // Bob's first contact is held on the way to the server, so that Ada's revival is decided upon meanwhile.
      const ada = Promise.withResolvers<void>();
      const bob = Promise.withResolvers<void>();
      fhir.fault = ({ method, body }) => {
        if (method !== 'PUT') return undefined;
        if (tokensOf(body).includes('t|X')) return { delay: bob.promise };
        bob.resolve();
        return { delay: ada.promise };
      };
      await insert(2, 'X', 'Bob');
      await insert(1, 'Y', 'Ada');
      await expect.poll(() => people().r1, SOON).toBe('Bob t|X');
      ada.resolve();
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Bob t|X', r2: 'Ada t|Y' });
      expect(await links()).toEqual({ 1: 'r2', 2: 'r1' });
    });
  });

  describe('a delete whose last state was not kept', () => {
    it('makes what the server has inactive, and keeps the profile and the labels that it has', async () => {
      await insert(1, 'X', 'Ada');
      await allProcessed(database);
      const before = fhir.resources.get('r1');
      const meta = { ...(before?.meta as object), security: [{ code: 'R' }], tag: [{ code: 'vip' }] };
      fhir.write('r1', { ...before, meta: { ...meta, source: '#x', lastUpdated: '2026-01-01T00:00:00Z' } });
      fhir.fault = ({ method }) => (method === 'PUT' ? { status: 422 } : undefined);
      await sql('DELETE FROM patient WHERE id = 1');
      await allProcessed(database);
      fhir.fault = undefined;
      expect(await deadLetters()).toHaveLength(1);
      await sql('SELECT fhir_emit_patient(1)');
      await allProcessed(database);
      expect(meta).toMatchObject({ profile: [US_CORE_PATIENT] });
      expect(fhir.resources.get('r1')).toEqual({ ...before, meta, active: false });
      expect((await database.pool.query('SELECT resolution FROM fhir_dlq')).rows).toEqual([
        { resolution: 'superseded' },
      ]);
    });

    it('is done when the patient never got there', async () => {
      await sql('SELECT fhir_emit_patient(7)');
      await allProcessed(database);
      expect(fhir.writes).toEqual([]);
      expect(await deadLetters()).toEqual([]);
    });
  });

  describe('a resource that somebody else', () => {
    beforeEach(async () => {
      await insert(1, 'X', 'Ada');
      await allProcessed(database);
    });

    it('edited between two changes, is overwritten with the state of the database, and counted', async () => {
      fhir.write('r1', patient('X', 'Edited'));
      await sql(`UPDATE patient SET name_family = 'Lovelace' WHERE id = 1`);
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Lovelace t|X' });
      expect(await connectors.total('foreignEdits')).toBe(1);
    });

    it('gave the identifier of another patient, is its row’s again at once, and the other patient is a dead letter', async () => {
      fhir.write('r1', patient('W', 'Edited'));
      await insert(2, 'W', 'Bob');
      await allProcessed(database);
      expect(await links()).toEqual({ 1: 'r1' });
      expect(people()).toEqual({ r1: 'Ada t|X' });
      expect(await deadLetters()).toMatchObject([{ source_id: '2', error_text: expect.stringContaining('(id 1)') }]);
      await sql(`UPDATE patient SET name_family = 'Carl' WHERE id = 2`);
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Ada t|X', r2: 'Carl t|W' });
    });

    it('gave the identifier of another patient, is its row’s again also when the answer to the write there was lost', async () => {
      fhir.write('r1', patient('W', 'Edited'));
      let lost = false;
      fhir.fault = ({ method }) => {
        if (method !== 'PUT' || lost) return undefined;
        lost = true;
        return { cut: 'after' };
      };
      await insert(2, 'W', 'Bob');
      await allProcessed(database);
      expect(lost).toBe(true);
      expect(people()).toEqual({ r1: 'Ada t|X' });
      expect(await deadLetters()).toMatchObject([{ source_id: '2', error_text: expect.stringContaining('(id 1)') }]);
    });

    it('lost, after its identifier was given to another row’s resource, is a dead letter, and the other one its row’s', async () => {
      await insert(2, 'W', 'Bob');
      await allProcessed(database);
      fhir.write('r1', null);
      fhir.write('r2', { ...patient('W', 'Bob'), identifier: ['W', 'X'].map((value) => ({ system: 't', value })) });
      fhir.fault = ({ method, path }) =>
        method === 'PUT' && path.startsWith('Patient/r1') ? { status: 404 } : undefined;
      await sql(`UPDATE patient SET name_family = 'Lovelace' WHERE id = 1`);
      await allProcessed(database);
      expect(people()).toEqual({ r2: 'Bob t|W' });
      expect(await links()).toEqual({ 1: 'r1', 2: 'r2' });
      expect(await deadLetters()).toMatchObject([{ source_id: '1', error_text: expect.stringContaining('(id 2)') }]);
    });

    it('deleted there, stays deleted when the row is deleted too, and its identifier is free', async () => {
      fhir.write('r1', null);
      await sql('DELETE FROM patient WHERE id = 1');
      await insert(2, 'X', 'Bob');
      await allProcessed(database);
      expect(people()).toEqual({ r2: 'Bob t|X' });
      expect(await deadLetters()).toEqual([]);
    });

    it('deleted there, is brought back', async () => {
      fhir.write('r1', null);
      await sql(`UPDATE patient SET name_family = 'Lovelace' WHERE id = 1`);
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Lovelace t|X' });
    });

    it('deleted there and made again under another id, is the other one from now on', async () => {
      fhir.write('r1', null);
      fhir.write('new', patient('X', 'Made again'));
      fhir.fault = ({ method, path }) =>
        method === 'PUT' && path.startsWith('Patient/r1') ? { status: 404 } : undefined;
      await sql(`UPDATE patient SET name_family = 'Lovelace' WHERE id = 1`);
      await allProcessed(database);
      expect(people()).toEqual({ new: 'Lovelace t|X' });
      expect(await links()).toEqual({ 1: 'new' });
    });
  });
});

async function sql(text: string): Promise<void> {
  await database.pool.query(text);
}

async function insert(id: number, mrn: string, family: string, others: string[] = []): Promise<void> {
  const quoted = others.map(
    (value) => `INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value)
    VALUES (${id}, 't', '${value}');`,
  );
  await sql(`BEGIN; INSERT INTO patient (id, identifier_system, identifier_value, name_family)
    VALUES (${id}, 't', '${mrn}', '${family}'); ${quoted.join(' ')} COMMIT`);
}

/** `arrived`: the first token of each PUT; the first one waits until `release`. */
function holdFirstPut(): { arrived: string[]; release(): void } {
  const arrived: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  fhir.fault = ({ method, body }) => {
    if (method !== 'PUT') return undefined;
    const [token = ''] = tokensOf(body);
    arrived.push(token);
    return arrived.length === 1 ? { delay: promise } : undefined;
  };
  return { arrived, release: resolve };
}

/** All that was committed is delivered or a dead letter. */
function patient(mrn: string, family: string): Body {
  return { resourceType: 'Patient', identifier: [{ system: 't', value: mrn }], name: [{ family }] };
}

/** id → family name and identifiers */
function people(): Record<string, string> {
  return Object.fromEntries(
    [...fhir.resources].map(([id, body]) => [
      id,
      [(body.name as { family: string }[])[0]?.family, ...tokensOf(body)].join(' '),
    ]),
  );
}

async function deadLetters() {
  return (await database.pool.query('SELECT source_id, http_status, error_text FROM fhir_dlq ORDER BY id')).rows;
}

async function links(): Promise<Record<string, string | null>> {
  const { rows } = await database.pool.query('SELECT source_id, fhir_id FROM fhir_link ORDER BY source_id');
  return Object.fromEntries(rows.map(({ source_id, fhir_id }) => [source_id, fhir_id]));
}
