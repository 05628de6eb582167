// What uses up a delivery's attempts and what does not: with MAX_RETRIES=0 one failure that counts makes a dead letter.
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Fault, Request } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { addPatient, mrnOf } from '../support/patients.ts';
import { type LedgerScenario, startLedgerScenario } from '../support/scenario.ts';

let scenario: LedgerScenario;

afterEach(async () => {
  vi.restoreAllMocks();
  await scenario.end();
});

const isWrite = ({ method }: Request) => method === 'PUT';

/** The first `times` requests that `meets` lets in have the fault. */
function strike(times: number, fault: Fault, meets: (request: Request) => boolean): { struck: number } {
  const strikes = { struck: 0 };
  scenario.fhir.fault = (request) => {
    if (strikes.struck >= times || !meets(request)) return undefined;
    strikes.struck += 1;
    return fault;
  };
  return strikes;
}

/** Attempts of the patient's outbox row, and the statuses of its dead letters. */
async function verdict(id: number) {
  const { rows } = await scenario.database.pool.query(
    `SELECT attempts, (SELECT array_agg(http_status) FROM fhir_dlq d WHERE d.patient_id = o.patient_id) AS dead
       FROM fhir_outbox o WHERE patient_id = $1`,
    [id],
  );
  return rows[0];
}

describe('a failure of a write', () => {
  it.each([
    { what: '408', fault: { status: 408 } },
    { what: '429', fault: { status: 429 } },
    { what: '429 with Retry-After', fault: { status: 429, headers: { 'retry-after': '1' } } },
    { what: '503', fault: { status: 503 } },
    { what: '503 with Retry-After', fault: { status: 503, headers: { 'retry-after': '1' } } },
  ])('by $what never counts, though the server works for others', async ({ fault }) => {
    scenario = await startLedgerScenario({ maxRetries: 0 });
    const strikes = strike(3, fault, ({ body }) => mrnOf(body) === 'P');
    const id = await addPatient(scenario.database, 'P');
    await allProcessed(scenario.database);
    expect(strikes.struck).toBe(3);
    expect(await verdict(id)).toEqual({ attempts: 0, dead: null });
    expect(scenario.fhir.writes).toHaveLength(1);
  });

  it.each([
    { what: '500', fault: { status: 500 }, dead: [500] },
    { what: '502', fault: { status: 502 }, dead: [502] },
    { what: '504', fault: { status: 504 }, dead: [504] },
    { what: 'a broken connection', fault: { cut: 'before' }, dead: [null] },
    { what: 'a time-out', fault: { cut: 'silent-before' }, dead: [null] },
  ] as const)('by $what counts when the server works', async ({ fault, dead }) => {
    scenario = await startLedgerScenario({ maxRetries: 0, timeoutMs: 'cut' in fault ? 2000 : 10_000 });
    strike(2, fault, isWrite);
    const id = await addPatient(scenario.database, 'P');
    await allProcessed(scenario.database);
    expect(await verdict(id)).toMatchObject({ dead });
  });

  it.each([
    { what: '500', fault: { status: 500 } },
    { what: '502', fault: { status: 502 } },
    { what: '504', fault: { status: 504 } },
    { what: 'a broken connection', fault: { cut: 'before' } },
    { what: 'a time-out', fault: { cut: 'silent-before' } },
  ] as const)('by $what does not count when the server fails at everything', async ({ fault }) => {
    scenario = await startLedgerScenario({ maxRetries: 0, timeoutMs: 'cut' in fault ? 2000 : 10_000 });
    // Another patient was served just before; that says nothing of what comes after it.
    await addPatient(scenario.database, 'BEFORE');
    await allProcessed(scenario.database);
    const strikes = strike(4, fault, () => true);
    const id = await addPatient(scenario.database, 'P');
    await allProcessed(scenario.database);
    expect(strikes.struck).toBe(4);
    expect(await verdict(id)).toEqual({ attempts: 0, dead: null });
  });
});

// As HAPI without its database: it answers, writes or reads, after 30 seconds. When the control read is answered, all is well.
it.each([
  { what: 'that comes late', late: isWrite },
  { what: 'before a long silence', late: ({ method }: Request) => method === 'GET' },
])('a failure $what does not count, for an outage may be over; the next one does', async ({ late }) => {
  scenario = await startLedgerScenario({ maxRetries: 5, timeoutMs: 60_000 });
  const clock = performance.now.bind(performance);
  let skew = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => clock() + skew);
  let [failures, delays] = [0, 0];
  scenario.fhir.fault = (request) => {
    const fails = isWrite(request) && failures < 2;
    if (fails) failures += 1;
    if (late(request) && delays < failures) {
      delays += 1;
      skew += 30_000;
    }
    return fails ? { status: 500 } : undefined;
  };
  const id = await addPatient(scenario.database, 'P');
  await allProcessed(scenario.database);
  expect([failures, delays]).toEqual([2, 2]);
  expect(await verdict(id)).toEqual({ attempts: 1, dead: null });
});

it('the two minutes that retries may take stand still during an outage', async () => {
  scenario = await startLedgerScenario({ maxRetries: 5 });
  const outage = Promise.withResolvers<void>();
  let writes = 0;
  let up = true;
  scenario.fhir.fault = (request) => {
    if (!up) return { status: 503 };
    if (!isWrite(request)) return undefined;
    writes += 1;
    // The patient's own failures, before and after the outage.
    if (writes === 1) return { status: 500 };
    if (writes === 3) return { status: 500 };
    if (writes > 3) return undefined;
    up = false;
    outage.resolve();
    return { status: 503 };
  };
  const id = await addPatient(scenario.database, 'P');
  await outage.promise;
  expect(await verdict(id)).toEqual({ attempts: 1, dead: null });
  await expect.poll(() => scenario.connector.metrics.breakerState.get(), PATIENCE).toBe('outage');
  const clock = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => clock() + 180_000);
  up = true;
  await allProcessed(scenario.database);
  expect(writes).toBe(4);
  expect(await verdict(id)).toEqual({ attempts: 2, dead: null });
});
