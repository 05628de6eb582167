// Patients that travel in one Bundle: what one of them meets is its own, and what the Bundle meets harms none of them.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startConnector } from '../support/connector.ts';
import { figureOf, streaming } from '../support/connector-state.ts';
import type { Fault, Request } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { addPatient, COUNT_UP, mrnOf } from '../support/patients.ts';
import { type LedgerScenario, startLedgerScenario } from '../support/scenario.ts';

const NAMES = Array.from({ length: 24 }, (_, n) => `P-${n}`);
/** In one Bundle with others. */
const ONE = 'P-7';

let scenario: LedgerScenario;
let ids: number[];

const OPTIONS = { concurrency: 1, batchSize: 16, maxRetries: 2, timeoutMs: 1000 };

beforeEach(async () => {
  scenario = await startLedgerScenario(OPTIONS);
  ids = await Promise.all(NAMES.map((name) => addPatient(scenario.database, name)));
  await allProcessed(scenario.database);
});

afterEach(() => scenario.end());

const isBundle = ({ method, path }: Request) => method === 'POST' && path === '';
const isOf = (name: string, { method, body }: Request) => method === 'PUT' && mrnOf(body) === name;

const mrn = (value: string) => ({ system: 'urn:mrn', value });
const resourceOf = (name: string) =>
  [...scenario.fhir.resources].find(([, resource]) => mrnOf(resource) === name)?.[0] ?? '';

/** The versions of each patient by its count (see COUNT_UP); those of a new patient begin with null. */
function versions(): Map<string, (string | null)[]> {
  const all = new Map<string, (string | null)[]>(NAMES.map((name) => [name, []]));
  for (const { body } of scenario.fhir.writes) {
    const phone = (body?.telecom as { value: string }[] | undefined)?.[0]?.value ?? null;
    all.get(mrnOf(body))?.push(phone);
  }
  return all;
}

function eachHas(...expected: (string | null)[]): Map<string, (string | null)[]> {
  return new Map(NAMES.map((name) => [name, expected]));
}

const countUp = (of: number[] = ids) => scenario.database.pool.query(COUNT_UP, [of]);

async function rows(sql: string): Promise<Record<string, unknown>[]> {
  return (await scenario.database.pool.query(sql)).rows;
}

const deadLetters = () =>
  rows(`SELECT p.identifier_value AS name, q.http_status AS status, q.attempts FROM fhir_dlq q
          JOIN patient p ON p.id = q.patient_id ORDER BY q.outbox_id`);

/** Of all outbox rows. */
const attempts = async () => (await rows('SELECT DISTINCT attempts FROM fhir_outbox'))[0]?.attempts;

async function foreignEdits(): Promise<number | undefined> {
  return figureOf(scenario.connector.metrics.foreignEdits);
}

/** How many patients each Bundle had, on average. */
async function inABundle(): Promise<number> {
  const { values } = await scenario.connector.metrics.bundlePatients.get();
  const of = (name: string) =>
    values.find(({ metricName }) => metricName === `fhir_bundle_patients_${name}`)?.value ?? 0;
  return of('sum') / of('count');
}

it('changes of many patients go in few requests, and make a version each, in order', async () => {
  let requests = 0;
  scenario.fhir.fault = (request) => {
    if (isBundle(request)) requests += 1;
    return undefined;
  };
  for (let n = 0; n < 5; n += 1) await countUp();
  await allProcessed(scenario.database);
  expect(versions()).toEqual(eachHas(null, '1', '2', '3', '4', '5'));
  // 120 PUTs, sixteen at a time at most.
  expect(requests).toBeLessThan(40);
  expect(await inABundle()).toBeGreaterThan(4);
  const links = await rows(`SELECT DISTINCT version_id FROM fhir_link`);
  expect(links).toEqual([{ version_id: '6' }]);
});

describe('the answer to a Bundle that was applied, lost', () => {
  const lost: [string, Fault][] = [
    ['because the connection breaks', { cut: 'after' }],
    ['because it comes too late', { cut: 'silent-after' }],
  ];

  it.each(lost)('%s, doubles nothing, loses nothing and counts for nobody', async (_, fault) => {
    let lost = 0;
    scenario.fhir.fault = (request) => {
      if (!isBundle(request) || lost >= 2) return undefined;
      lost += 1;
      return fault;
    };
    await countUp();
    await countUp();
    await allProcessed(scenario.database);
    // A connection that breaks where it was used before is tried again at once, once.
    expect(lost).toBe(2);
    expect(versions()).toEqual(eachHas(null, '1', '2'));
    expect(await rows('SELECT DISTINCT version_id FROM fhir_link')).toEqual([{ version_id: '3' }]);
    expect(await foreignEdits()).toBe(0);
    expect(await attempts()).toBe(0);
    expect(await deadLetters()).toEqual([]);
  });

  it('at the first contact makes no second resource of anybody', async () => {
    let lost = false;
    scenario.fhir.fault = (request) => {
      if (!isBundle(request) || lost) return undefined;
      lost = true;
      return { cut: 'silent-after' };
    };
    const names = Array.from({ length: 12 }, (_, n) => `NEW-${n}`);
    await scenario.database.pool.query(
      `INSERT INTO patient (identifier_system, identifier_value) SELECT 'urn:mrn', unnest($1::text[])`,
      [names],
    );
    await allProcessed(scenario.database);
    expect(lost).toBe(true);
    const there = [...scenario.fhir.resources.values()].map(mrnOf);
    expect(there.toSorted()).toEqual([...NAMES, ...names].toSorted());
    expect(await deadLetters()).toEqual([]);
  });
});

describe('one patient of a Bundle', () => {
  it('that is refused is the only dead letter; the others have one version', async () => {
    scenario.fhir.fault = (request) => (isOf(ONE, request) ? { status: 422, diagnostics: 'no' } : undefined);
    await countUp();
    await allProcessed(scenario.database);
    expect(await deadLetters()).toEqual([{ name: ONE, status: 422, attempts: 0 }]);
    expect(versions()).toEqual(eachHas(null, '1').set(ONE, [null]));
    scenario.fhir.fault = undefined;
    await countUp();
    await allProcessed(scenario.database);
    expect(versions()).toEqual(eachHas(null, '1', '2').set(ONE, [null, '2']));
  });

  const poison: [string, Fault, number | null][] = [
    ['makes the server fail', { status: 500, diagnostics: 'no' }, 500],
    ['breaks the connection', { cut: 'before' }, null],
    ['is never answered', { cut: 'silent-before' }, null],
  ];

  it.each(poison)(
    'that always %s is the only dead letter, after its tries; the others lose no attempt',
    async (_, fault, status) => {
      scenario.fhir.fault = (request) => (isOf(ONE, request) ? fault : undefined);
      await countUp();
      await allProcessed(scenario.database);
      expect(await deadLetters()).toEqual([{ name: ONE, status, attempts: 3 }]);
      expect(versions()).toEqual(eachHas(null, '1').set(ONE, [null]));
      expect(
        await rows(`SELECT DISTINCT o.attempts FROM fhir_outbox o JOIN patient p ON p.id = o.patient_id
                   WHERE p.identifier_value <> '${ONE}'`),
      ).toEqual([{ attempts: 0 }]);
    },
  );

  it('that somebody edited there is overwritten, counted and told; the others are not concerned', async () => {
    const { fhir } = scenario;
    const id = resourceOf(ONE);
    fhir.write(id, { ...fhir.resources.get(id), gender: 'other' });
    await countUp();
    await allProcessed(scenario.database);
    expect(await foreignEdits()).toBe(1);
    expect(versions()).toEqual(eachHas(null, '1').set(ONE, [null, null, '1']));
    expect(await deadLetters()).toEqual([]);
    expect(fhir.resources.get(id)).not.toHaveProperty('gender', 'other');
  });

  // The first request is slow, so that both wait for the second.
  it('whose identifier somebody gave to another one in it does not become that one', async () => {
    const { fhir, database, connector, end } = scenario;
    await connector.stop();
    const id = resourceOf(ONE);
    fhir.write(id, { ...fhir.resources.get(id), identifier: [mrn(ONE), mrn('NEW')] });
    // As if the edit were known: both PUTs go through, and the server answers that both are done, in one version.
    await database.pool.query(`UPDATE fhir_link SET version_id = '2' WHERE fhir_id = $1`, [id]);
    let [busy, met] = [false, 0];
    fhir.fault = (request) => {
      if (isOf('P-0', request)) {
        busy = true;
        return { delay: delay(700) };
      }
      const text = isBundle(request) ? JSON.stringify(request.body) : '';
      if (text.includes('Newcomer') && text.includes(`"Patient/${id}"`)) met += 1;
      return undefined;
    };
    const second = startConnector(database, fhir.url, OPTIONS);
    scenario = { ...scenario, connector: second, end: () => second.stop().then(end) };
    await streaming(second);
    await countUp([ids[0] ?? 0]);
    await expect.poll(() => busy, { ...PATIENCE, interval: 5 }).toBe(true);
    await database.pool.query(`BEGIN; UPDATE patient SET phone_number = '1' WHERE identifier_value = '${ONE}';
      INSERT INTO patient (identifier_system, identifier_value, name_family) VALUES ('urn:mrn', 'NEW', 'Newcomer'); COMMIT`);
    await allProcessed(database);
    expect(met).toBe(1);
    // Who of the two is looked at first decides what becomes of the newcomer: a resource of its own, or a dead letter.
    expect(mrnOf(fhir.resources.get(id) ?? null)).toBe(ONE);
    expect(JSON.stringify(fhir.resources.get(id))).not.toContain('Newcomer');
    const [link] = await rows(`SELECT l.fhir_id FROM fhir_link l JOIN patient p ON p.id = l.source_id
                                WHERE p.identifier_value = 'NEW' AND l.fhir_id IS NOT NULL`);
    const dead = (await deadLetters()).map(({ name }) => name);
    if (link) expect(fhir.resources.get(String(link.fhir_id))).toMatchObject({ name: [{ family: 'Newcomer' }] });
    expect(dead).toEqual(link ? [] : ['NEW']);
    expect(link?.fhir_id).not.toBe(id);
  });
});

describe('an outage of the FHIR server', () => {
  const outages: [string, Fault][] = [
    ['that answers 503', { status: 503 }],
    ['that answers no more', { cut: 'silent-before' }],
    ['that lets nobody in', { status: 401 }],
  ];

  it.each(outages)('%s dead-letters nobody, burns no attempts, and is over by itself', async (_, fault) => {
    let met = 0;
    scenario.fhir.fault = () => {
      met += 1;
      return fault;
    };
    for (let n = 0; n < 3; n += 1) await countUp();
    await expect.poll(() => scenario.connector.metrics.breakerState.get(), PATIENCE).not.toBe('flowing');
    await expect.poll(() => met, PATIENCE).toBeGreaterThan(6);
    scenario.fhir.fault = undefined;
    await allProcessed(scenario.database);
    expect(versions()).toEqual(eachHas(null, '1', '2', '3'));
    expect(await deadLetters()).toEqual([]);
    expect(await attempts()).toBe(0);
  });

  it('that refuses everything dead-letters nine at most, as it would without Bundles', async () => {
    scenario.fhir.fault = () => ({ status: 403 });
    await countUp();
    await expect.poll(() => scenario.connector.metrics.breakerState.get(), PATIENCE).toBe('refusing');
    scenario.fhir.fault = undefined;
    await allProcessed(scenario.database);
    expect((await deadLetters()).length).toBeLessThanOrEqual(9);
    await scenario.database.pool.query('SELECT fhir_emit_patient(patient_id) FROM fhir_dlq');
    await allProcessed(scenario.database);
    expect(versions()).toEqual(eachHas(null, '1'));
  });

  it('that takes no Bundles any more costs nothing but speed', async () => {
    scenario.fhir.fault = (request) => (isBundle(request) ? { status: 405 } : undefined);
    for (let n = 0; n < 3; n += 1) await countUp();
    await allProcessed(scenario.database);
    expect(versions()).toEqual(eachHas(null, '1', '2', '3'));
    expect(await deadLetters()).toEqual([]);
  });

  it('stops what waits to be sent alone as well', async () => {
    // Nothing in a Bundle is taken, so that all wait for the one request.
    scenario.fhir.fault = (request) => (isBundle(request) ? { status: 405 } : undefined);
    for (let n = 0; n < 3; n += 1) await countUp();
    await allProcessed(scenario.database);
    let [sent, asked] = [0, 0];
    scenario.fhir.fault = ({ method }) => {
      if (method === 'GET') asked += 1;
      else sent += 1;
      return { status: 503 };
    };
    await countUp();
    await expect.poll(() => asked, PATIENCE).toBeGreaterThan(1);
    expect(sent).toBe(1);
    scenario.fhir.fault = undefined;
    await allProcessed(scenario.database);
    expect(versions()).toEqual(eachHas(null, '1', '2', '3', '4'));
    expect(await attempts()).toBe(0);
  });
});
