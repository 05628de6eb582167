// A FHIR server that is empty all of a sudden gives its ids away again: no patient's data lands on another's resource.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunningConnector, startConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Body, FhirLedger, tokensOf } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';

const SOON = { timeout: 20_000 };

let database: TestDatabase;
let fhir: FhirLedger;
let connector: RunningConnector;

beforeEach(async () => {
  database = await createDatabase();
  fhir = await FhirLedger.start();
});

afterEach(async () => {
  await connector.stop();
  await database.drop();
  await fhir.stop();
});

async function start(
  deletes: 'deactivate' | 'delete' = 'deactivate',
  bundles: { concurrency?: number; batchSize?: number } = {},
): Promise<void> {
  connector = startConnector(database, fhir.url, { deletes, ...bundles });
  await expect.poll(() => connector.metrics.connectorState.get(), SOON).toBe('streaming');
}

/** Patients 1 to 3, with the resources r1 to r3, version 1 each; and then nothing of them on the server any more. */
async function lostThree(deletes: 'deactivate' | 'delete' = 'deactivate'): Promise<void> {
  await start(deletes);
  for (const id of [1, 2, 3]) {
    await insert(id);
    await allProcessed(database);
  }
  expect(people()).toEqual({ r1: 'Born-1 P-1', r2: 'Born-2 P-2', r3: 'Born-3 P-3' });
  fhir.lose();
}

describe('a server that names the resource of another row for a new one', () => {
  it('is not believed: neither row is linked to the resource of the other', async () => {
    await start();
    await insert(1);
    await allProcessed(database);
    const lie = { location: `${fhir.url}/Patient/r1/_history/1`, etag: 'W/"1"' };
    let lies = 0;
    fhir.fault = ({ method, path }) => {
      if (method !== 'PUT' || !path.endsWith('P-2') || lies > 0) return undefined;
      lies += 1;
      return { headers: lie };
    };
    await insert(2);
    await allProcessed(database);
    expect(lies).toBe(1);
    expect(connector.log.filter(({ msg }) => msg === 'delivered').map(({ fhirId }) => fhirId)).toEqual(['r1', 'r2']);
    await rename(1);
    await rename(2);
    await allProcessed(database);
    expect(await links()).toEqual({ 1: 'r1', 2: 'r2' });
    expect(people()).toEqual({ r1: 'Changed-1 P-1', r2: 'Changed-2 P-2' });
    expect(await deadLetters()).toEqual([]);
  });
});

describe('a server that lost everything', () => {
  it('gets each patient again with its next change, as one resource that the link names, and the log tells of it', async () => {
    await lostThree();
    for (const id of [3, 2, 1]) {
      await rename(id);
      await allProcessed(database);
    }
    expect(people()).toEqual({ r1: 'Changed-3 P-3', r2: 'Changed-2 P-2', r3: 'Changed-1 P-1' });
    expect(await links()).toEqual({ 1: 'r3', 2: 'r2', 3: 'r1' });
    expect(await deadLetters()).toEqual([]);
    expect(connector.log.map(({ msg }) => msg)).toContainEqual(expect.stringContaining('it is empty or an older copy'));
    expect(JSON.stringify(connector.log)).not.toMatch(/Changed-|Born-|P-\d/);
  });

  it('gets them all again when all change at once', async () => {
    await lostThree();
    await Promise.all([1, 2, 3].map(rename));
    await allProcessed(database);
    expect(Object.values(people()).toSorted()).toEqual(['Changed-1 P-1', 'Changed-2 P-2', 'Changed-3 P-3']);
    expect(await deadLetters()).toEqual([]);
  });

  it('and gave the id, up to the same version, to somebody else: who stays untouched, also after a restart', async () => {
    await lostThree();
    await rename(3);
    await allProcessed(database);
    fhir.write('r2', stranger('STRANGER'));
    await connector.stop();
    await start();
    await rename(2);
    await allProcessed(database);
    expect(people()).toMatchObject({ r1: 'Changed-3 P-3', r2: 'Stranger STRANGER', r3: 'Changed-2 P-2' });
    expect(await deadLetters()).toEqual([]);
  });

  // A patient's third version is what was written last: the stranger has fewer versions, or one of that number too.
  it.each([1, 4])('and gave the id, up to version %i, to somebody else: who stays untouched', async (versions) => {
    await start();
    await insert(1);
    for (const _ of [2, 3]) await rename(1);
    await allProcessed(database);
    fhir.lose();
    for (let n = 1; n <= versions; n += 1) fhir.write('r1', stranger(`STRANGER-${n}`));
    await rename(1);
    await allProcessed(database);
    expect(people()).toEqual({ r1: `Stranger STRANGER-${versions}`, r2: 'Changed-1 P-1' });
    expect(await deadLetters()).toEqual([]);
  });

  it('and gives an id to a new patient: whose it was gets another one with its next change', async () => {
    await lostThree();
    await insert(4);
    await allProcessed(database);
    expect(await links()).toEqual({ 1: null, 2: 'r2', 3: 'r3', 4: 'r1' });
    await rename(1);
    await allProcessed(database);
    expect(people()).toEqual({ r1: 'Born-4 P-4', r2: 'Changed-1 P-1' });
    expect(await deadLetters()).toEqual([]);
  });

  it.each(['delete', 'deactivate'] as const)(
    'and gave the id of a patient to somebody else: that one stays when the patient goes (%s), whose identifier is free',
    async (deletes) => {
      await lostThree(deletes);
      await rename(3);
      await allProcessed(database);
      fhir.write('r2', stranger('STRANGER'));
      await sql('DELETE FROM patient WHERE id = 2');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Changed-3 P-3', r2: 'Stranger STRANGER' });
      await insert(4, 'P-2');
      await allProcessed(database);
      expect(people()).toEqual({ r1: 'Changed-3 P-3', r2: 'Stranger STRANGER', r3: 'Born-4 P-2' });
      expect(await deadLetters()).toEqual([]);
    },
  );

  it('and gives the id of a patient away while a change of that patient is in a Bundle: whose halves go by what is known then', async () => {
    await lostThree();
    await connector.stop();
    await start('deactivate', { concurrency: 2, batchSize: 8 });
    const bundle = Promise.withResolvers<void>();
    let bundles = 0;
    fhir.fault = ({ method, path }) => {
      if (method !== 'POST' || path !== '') return undefined;
      bundles += 1;
      return { delay: bundle.promise };
    };
    await sql(`UPDATE patient SET name_family = 'Changed' WHERE id IN (1, 2)`);
    await expect.poll(() => bundles, SOON).toBe(1);
    await insert(4);
    await expect.poll(links, SOON).toEqual({ 1: null, 2: 'r2', 3: 'r3', 4: 'r1' });
    bundle.resolve();
    await allProcessed(database);
    expect(people().r1).toBe('Born-4 P-4');
    expect(Object.values(people()).toSorted()).toEqual(['Born-4 P-4', 'Changed P-1', 'Changed P-2']);
    expect(await deadLetters()).toEqual([]);
  });

  it('and gives the id of a patient away while a change of that patient waits: it goes in the lane of its identifier', async () => {
    await lostThree();
    const [first, fifth] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const arrived: string[] = [];
    fhir.fault = ({ method, path, body }) => {
      if (method !== 'PUT') return undefined;
      const who = tokensOf(body)[0] ?? '';
      arrived.push(`${who}${path.includes('?') ? ' for the first time' : ''}`);
      if (who === 't|P-1' && !path.includes('?')) return { delay: first.promise, status: 422 };
      return who === 't|P-5' ? { delay: fifth.promise } : undefined;
    };
    await rename(1);
    await expect.poll(() => arrived, SOON).toEqual(['t|P-1']);
    await rename(1);
    await insert(4);
    await expect.poll(links, SOON).toEqual({ 1: null, 2: 'r2', 3: 'r3', 4: 'r1' });
    // On its way, with the identifier of the first patient among its others.
    await sql(`BEGIN; INSERT INTO patient (id, identifier_system, identifier_value, name_family) VALUES (5, 't', 'P-5', 'Born-5');
      INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value) VALUES (5, 't', 'P-1'); COMMIT`);
    await expect.poll(() => arrived, SOON).toContain('t|P-5 for the first time');
    first.resolve();
    await expect.poll(async () => (await deadLetters()).length, SOON).toBe(1);
    // Who comes after them is delivered: they had their chance.
    await insert(6);
    await expect.poll(() => Object.values(people()), SOON).toContain('Born-6 P-6');
    const early = arrived.filter((who) => who.startsWith('t|P-1'));
    fifth.resolve();
    await allProcessed(database);
    expect(early).toEqual(['t|P-1']);
    expect(people()).toEqual({ r1: 'Born-4 P-4', r2: 'Born-6 P-6', r3: 'Born-5 P-5 P-1' });
    expect((await deadLetters()).map(({ error_text }) => error_text)).toEqual([
      expect.stringContaining('does not accept the resource'),
      expect.stringContaining('another living row (id 5)'),
    ]);
  });
});

const sql = (text: string) => database.pool.query(text);

const insert = (id: number, identifier = `P-${id}`) =>
  sql(
    `INSERT INTO patient (id, identifier_system, identifier_value, name_family) VALUES (${id}, 't', '${identifier}', 'Born-${id}')`,
  );

let changes = 0;
const rename = (id: number) => {
  changes += 1;
  return sql(`UPDATE patient SET name_family = 'Changed-${id}', phone_number = '${changes}' WHERE id = ${id}`);
};

function stranger(value: string): Body {
  return { resourceType: 'Patient', identifier: [{ system: 't', value }], name: [{ family: 'Stranger' }] };
}

/** All that was committed is delivered or a dead letter. */
/** id → family name and identifiers */
function people(): Record<string, string> {
  return Object.fromEntries(
    [...fhir.resources].map(([id, body]) => [
      id,
      [(body.name as { family: string }[])[0]?.family, ...tokensOf(body).map((token) => token.replace('t|', ''))].join(
        ' ',
      ),
    ]),
  );
}

const deadLetters = async () => (await sql('SELECT source_id, http_status, error_text FROM fhir_dlq ORDER BY id')).rows;

async function links(): Promise<Record<string, string | null>> {
  const { rows } = await sql('SELECT source_id, fhir_id FROM fhir_link ORDER BY source_id');
  return Object.fromEntries(rows.map(({ source_id, fhir_id }) => [source_id, fhir_id]));
}
