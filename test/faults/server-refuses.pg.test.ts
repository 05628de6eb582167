// A server that fails or refuses everybody, from one request to the next: a hold, and not a hospital of dead letters.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import type { Fault, Request } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { mrnOf } from '../support/patients.ts';
import { type LedgerScenario, startLedgerScenario } from '../support/scenario.ts';

/** Nine patients refused in a row may be nine patients' own faults. */
const AT_MOST = 9;
const PATIENTS = 200;
const LATENCIES_MS = [1, 1, 2, 30];

let scenario: LedgerScenario;

afterEach(() => scenario.end());

const isWrite = ({ method }: Request) => method === 'PUT';
const everything = () => true;

it.each([
  { what: '404, as a wrong base path does', fault: { status: 404 }, meets: everything, dead: 0 },
  { what: '401', fault: { status: 401 }, meets: everything, dead: 0 },
  { what: '403', fault: { status: 403 }, meets: everything, dead: AT_MOST },
  { what: '405 to conditional updates and 404 by id', fault: { status: 405 }, meets: isWrite, dead: 0 },
  { what: '422 to writes, as a profile does', fault: { status: 422 }, meets: isWrite, dead: AT_MOST },
  { what: '500 to writes, and reads work', fault: { status: 500 }, meets: isWrite, dead: AT_MOST },
  { what: 'nothing to writes, and reads work', fault: { cut: 'silent-before' }, meets: isWrite, dead: AT_MOST },
] as const)(
  'a server that answers $what, holds all deliveries, and they go on when it is mended',
  { timeout: 120_000 },
  async ({ fault, meets, dead }) => {
    scenario = await startLedgerScenario({ maxRetries: 1, timeoutMs: 'cut' in fault ? 1000 : 10_000 });
    const { database, fhir, connector } = scenario;
    await database.pool.query(INSERT, [1, PATIENTS / 2]);
    await allProcessed(database);

    let broken = false;
    let met = 0;
    let writes = 0;
    fhir.fault = (request): Fault | undefined => {
      if (isWrite(request)) writes += 1;
      // In the middle of the stream, with answers from before still on their way.
      if (writes === 60) broken = true;
      if (broken && meets(request)) {
        met += 1;
        return fault;
      }
      return isWrite(request) ? { delay: delay(LATENCIES_MS[writes % LATENCIES_MS.length]) } : undefined;
    };
    // Known patients, by id, and new ones.
    await database.pool.query('UPDATE patient SET name_family = $1', ['Changed']);
    await database.pool.query(INSERT, [PATIENTS / 2 + 1, PATIENTS]);
    await expect.poll(() => connector.metrics.breakerState.get(), PATIENCE).toBe('refusing');
    const held = met;
    await expect.poll(() => met, PATIENCE).toBeGreaterThan(held + 1);
    expect(await deadLetters()).toBeLessThanOrEqual(dead);

    broken = false;
    writes = PATIENTS;
    await allProcessed(database);
    expect(await deadLetters()).toBeLessThanOrEqual(dead);
    expect(connector.metrics.breakerState.get()).toBe('flowing');
    expect(
      fhir.resources.size + (await deadLetters('NOT EXISTS (SELECT FROM fhir_link l WHERE l.source_id = d.source_id)')),
    ).toBe(PATIENTS);

    // Replayed, the few are there too.
    await database.pool.query('SELECT fhir_emit_patient(patient_id) FROM fhir_dlq');
    await allProcessed(database);
    const people = [...fhir.resources.values()].map((body) => [
      mrnOf(body),
      (body.name as { family: string }[])[0]?.family,
    ]);
    expect(new Map(people as [string, string][])).toEqual(
      new Map(Array.from({ length: PATIENTS }, (_, n) => [`P-${n + 1}`, n < PATIENTS / 2 ? 'Changed' : 'Doe'])),
    );
  },
);

const INSERT = `INSERT INTO patient (id, identifier_system, identifier_value, name_family)
  SELECT id, 'urn:t', 'P-' || id, 'Doe' FROM generate_series($1::int, $2::int) AS id`;

async function deadLetters(which = 'true'): Promise<number> {
  const { rows } = await scenario.database.pool.query(`SELECT count(*)::int AS n FROM fhir_dlq d WHERE ${which}`);
  return rows[0]?.n;
}

it('failures from before the end of a hold blame nobody, though it takes until after it to know that they count', async () => {
  scenario = await startLedgerScenario({ maxRetries: 0, concurrency: 40 });
  const { database, fhir, connector } = scenario;
  await database.pool.query(INSERT, [1, 40]);
  await allProcessed(database);

  let broken = true;
  let probes = 0;
  const secondProbe = Promise.withResolvers<void>();
  const holdIsOver = Promise.withResolvers<void>();
  fhir.fault = (request): Fault | undefined => {
    if (request.path.includes('_summary=count')) {
      probes += 1;
      if (probes === 2) secondProbe.resolve();
      // It is the one that those wait for who failed after the second was asked.
      return probes === 3 ? { delay: holdIsOver.promise } : undefined;
    }
    if (!broken || !isWrite(request)) return undefined;
    // Twelve make the hold; the others' answers come when the probe that starts it is already asked.
    return Number(mrnOf(request.body).slice(2)) <= 12 ? { status: 500 } : { status: 500, delay: secondProbe.promise };
  };
  await database.pool.query('UPDATE patient SET name_family = $1', ['Changed']);
  await expect.poll(() => connector.metrics.breakerState.get(), PATIENCE).toBe('refusing');
  broken = false;
  await expect.poll(() => connector.metrics.breakerState.get(), PATIENCE).toBe('flowing');
  holdIsOver.resolve();
  await allProcessed(database);
  expect(await deadLetters()).toBe(AT_MOST);
});
