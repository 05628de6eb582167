// An outage of the FHIR server in the middle of a stream of transactions, judged by what the server itself saw.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ConnectorProcess, connectorEnvironment, spawnConnector } from '../support/connector.ts';
import { metricOf, streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirLedger, type Request, tokensOf } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';

const PATIENCE = { timeout: 60_000 };
const CONCURRENCY = 32;
/** Generous: that it goes on by itself is the point, not how busy the machine is. */
const RESUMES_WITHIN_MS = 10_000;
/** Some answers are quick, some slow: when the server fails, answers from before are still on their way. */
const LATENCIES_MS = [1, 1, 2, 30];

interface Arrival {
  readonly what: 'write' | 'probe';
  /** performance.now() */
  readonly at: number;
  readonly down: boolean;
}

let database: TestDatabase;
let fhir: FhirLedger;
let connector: ConnectorProcess;
let arrivals: Arrival[];
/** What the server does to every request while it is down. */
let fault: NonNullable<ReturnType<Parameters<FhirLedger['faults']['add']>[0]>> | null;

beforeEach(async () => {
  database = await createDatabase();
  fhir = await FhirLedger.start();
  arrivals = [];
  fault = null;
});

afterEach(async () => {
  connector.child.kill('SIGKILL');
  await connector.exited;
  await database.drop();
  await fhir.stop();
});

async function start(variables: Record<string, string> = {}): Promise<void> {
  connector = spawnConnector({
    ...connectorEnvironment(database, fhir.url),
    FHIR_CONCURRENCY: String(CONCURRENCY),
    ...variables,
  });
  await streaming(connector);
}

/** `patients` are inserted and then each updated until it has `versions` of them, each in a transaction of its own, by four writers. */
function write(patients: number, versions: number): Promise<unknown> {
  const each = patients / 4;
  return Promise.all(
    [0, 1, 2, 3].map((writer) =>
      database.pool.query(`DO $$ BEGIN
        FOR version IN 0..${versions - 1} LOOP
          FOR id IN ${writer * each + 1}..${(writer + 1) * each} LOOP
            INSERT INTO public.patient AS p (id, identifier_system, identifier_value, phone_number)
            VALUES (id, 'urn:t', 'P-' || id, version)
            ON CONFLICT ON CONSTRAINT patient_pkey DO UPDATE SET phone_number = version;
            COMMIT;
          END LOOP;
        END LOOP;
      END $$`),
    ),
  );
}

/** Resolves when the server has been asked for so many writes. */
function watch(writes: number): Promise<void> {
  return new Promise((resolve) => {
    let seen = 0;
    fhir.fault = ({ method, path }: Request) => {
      const what = method === 'PUT' ? 'write' : path.includes('_summary=count') ? 'probe' : null;
      if (what === 'write') seen += 1;
      // Here, and not where the promise is awaited: the server fails between two requests.
      if (seen === writes) resolve();
      if (what) arrivals.push({ what, at: performance.now(), down: fault !== null });
      if (fault) return fault;
      return what === 'write' ? { delay: delay(LATENCIES_MS[seen % LATENCIES_MS.length]) } : undefined;
    };
  });
}

const metric = (name: string) => metricOf(connector, name);

async function expectNobodyBlamed(): Promise<void> {
  const { rows } = await database.pool.query(
    `SELECT (SELECT count(*)::int FROM fhir_dlq) AS dead, (SELECT max(attempts) FROM fhir_outbox) AS attempts`,
  );
  expect(rows).toEqual([{ dead: 0, attempts: 0 }]);
}

function expectEveryVersionInOrder(patients: number, versions: number): void {
  const seen = new Map<string, number[]>();
  for (const { body } of fhir.writes) {
    const who = tokensOf(body)[0] ?? '';
    const phone = (body?.telecom as { value: string }[] | undefined)?.[0]?.value;
    seen.set(who, [...(seen.get(who) ?? []), Number(phone)]);
  }
  const all = Array.from({ length: versions }, (_, version) => version);
  expect(seen.size).toBe(patients);
  for (const [who, found] of seen) expect(found, who).toEqual(all);
}

/** From the server's log: only what was in flight met the outage, and then nothing but probes, until one had succeeded. */
function expectHeld(began: number, ended: number): void {
  const writesWhileDown = arrivals.filter(({ what, down }) => down && what === 'write');
  expect(writesWhileDown.length).toBeGreaterThan(0);
  expect(writesWhileDown.length).toBeLessThanOrEqual(CONCURRENCY);
  const probes = arrivals.filter(({ what, down }) => down && what === 'probe').map(({ at }) => at);
  expect(probes.length).toBeGreaterThan(1);
  // Two a second at most, in any second: the third after one comes more than a second after it (less what timers stray).
  for (const [index, at] of probes.entries()) expect((probes[index + 3] ?? ended + 60_000) - at).toBeGreaterThan(1000);
  expect(probes.length).toBeLessThanOrEqual(2 * ((ended - began) / 1000) + 2);
  const next = arrivals.findIndex(({ what, at }) => what === 'write' && at > ended);
  expect(next).toBeGreaterThan(-1);
  expect(arrivals.slice(0, next).some(({ what, down, at }) => what === 'probe' && !down && at > ended)).toBe(true);
  expect((arrivals[next]?.at ?? 0) - ended).toBeLessThan(RESUMES_WITHIN_MS);
}

describe('an outage in the middle of a stream of transactions', () => {
  it('of 503 for ten seconds burns no attempt, keeps every order and version, and is over by itself', {
    timeout: 180_000,
  }, async () => {
    await start();
    const middle = watch(5000);
    const writing = write(1000, 12);
    await middle;
    const began = performance.now();
    fault = { status: 503 };
    // How few requests meet an outage shows only when it lasts.
    await delay(5000);
    expect(await metric('fhir_breaker_state{state="outage"}')).toBe(1);
    expect(await metric('fhir_deliveries_in_flight')).toBe(0);
    await delay(5000);
    fault = null;
    const ended = performance.now();
    await writing;
    await expect.poll(() => fhir.writes.length, PATIENCE).toBe(12_000);
    await allProcessed(database);
    expectHeld(began, ended);
    expectEveryVersionInOrder(1000, 12);
    await expectNobodyBlamed();
    expect(await metric('fhir_breaker_state{state="flowing"}')).toBe(1);
    connector.child.kill('SIGTERM');
    expect(await connector.exited).toBe(0);
  });

  it('of hanging connections does the same', { timeout: 120_000 }, async () => {
    // Long enough that nothing but the outage takes so long.
    await start({ FHIR_TIMEOUT_MS: '4000' });
    const middle = watch(700);
    const writing = write(200, 10);
    await middle;
    const began = performance.now();
    fault = { cut: 'silent-before' };
    await expect.poll(() => arrivals.filter(({ what, down }) => down && what === 'probe').length, PATIENCE).toBe(2);
    expect(await metric('fhir_breaker_state{state="outage"}')).toBe(1);
    fault = null;
    const ended = performance.now();
    await writing;
    await allProcessed(database);
    await expectNobodyBlamed();
    expectHeld(began, ended);
    expectEveryVersionInOrder(200, 10);
  });

  it('of refused connections does the same', { timeout: 120_000 }, async () => {
    await start();
    const middle = watch(700);
    const writing = write(200, 10);
    await middle;
    await fhir.stop();
    // Long enough for several probes, which nobody sees here.
    await delay(4000);
    expect(await metric('fhir_breaker_state{state="outage"}')).toBe(1);
    // A request that breaks on a connection which served before is repeated at once, and that connection is refused.
    const failed =
      (await metric('fhir_call_errors_total{code="network"}')) +
      (await metric('fhir_call_errors_total{code="unreachable"}'));
    await fhir.resume();
    const ended = performance.now();
    await expect.poll(() => arrivals.some(({ what, at }) => what === 'write' && at > ended), PATIENCE).toBe(true);
    await writing;
    await allProcessed(database);
    await expectNobodyBlamed();
    // What was in flight, and the probes.
    expect(failed).toBeGreaterThan(4);
    expect(failed).toBeLessThanOrEqual(CONCURRENCY + 10);
    expectEveryVersionInOrder(200, 10);
  });
});
