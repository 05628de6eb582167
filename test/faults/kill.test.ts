// kill -9, again and again, while thousands of transactions are committed: nothing lost, nothing out of order.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type ConnectorProcess, connectorEnvironment, spawnConnector } from '../support/connector.ts';
import { streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { Dice } from '../support/dice.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { mrnOf } from '../support/patients.ts';

const PATIENTS = 400;
const PATIENCE = { timeout: 60_000, interval: 5 };
const DRAINED = { timeout: 240_000, interval: 200 };

let database: TestDatabase;
let fhir: FhirLedger;
let connector: ConnectorProcess;

beforeEach(async () => {
  database = await createDatabase();
  fhir = await FhirLedger.start();
});

afterEach(async () => {
  connector.child.kill('SIGKILL');
  await connector.exited;
  await database.drop();
  await fhir.stop();
});

it('fifty kills among twenty thousand transactions lose nothing, keep each order, and repeat only what was in flight', async () => {
  const { inFlight, repeated } = await killAndJudge(50, { FHIR_CONCURRENCY: '16' });
  expect(repeated).toBeLessThanOrEqual(inFlight);
});

// A Bundle with one write that was in flight at a kill is refused for it, and so the others in it are sent again too.
it('ten kills among four thousand transactions whose patients go in Bundles lose nothing, and keep each order', async () => {
  await killAndJudge(10, { FHIR_CONCURRENCY: '2', FHIR_BATCH_SIZE: '16' });
});

/** One version of each patient for each kill, all of them transactions of their own. */
async function killAndJudge(
  times: number,
  settings: Record<string, string>,
): Promise<{ inFlight: number; repeated: number }> {
  const dice = new Dice(1, 0);
  /** Patient and version of each write that arrived. */
  const arrived: string[] = [];
  fhir.fault = ({ method, body }) => {
    if (method !== 'PUT') return undefined;
    arrived.push(`${mrnOf(body)} ${versionIn(body)}`);
    return { delay: delay(dice.int(1, 10)) };
  };
  let inFlight = 0;
  let committing: Promise<unknown> = Promise.resolve();
  for (let kills = 0; kills < times; kills += 1) {
    start(settings);
    await committing;
    committing = commit(kills);
    if (dice.chance(20)) {
      // While it starts, connects, takes the slot.
      await delay(dice.int(100, 1500));
    } else {
      const until = arrived.length + dice.int(1, 800);
      await expect
        .poll(() => arrived.length >= until || fhir.writes.length === (kills + 1) * PATIENTS, PATIENCE)
        .toBe(true);
      await delay(dice.int(0, 5));
    }
    connector.child.kill('SIGKILL');
    await connector.exited;
    // What the server has seen and the database does not know to be done.
    const recorded = await records();
    inFlight += new Set(arrived).size - recorded;
  }
  await committing;
  start({ ...settings, LOG_LEVEL: 'info' });
  await expect
    .poll(async () => (await database.pool.query('SELECT FROM fhir_outbox WHERE NOT processed')).rowCount, DRAINED)
    .toBe(0);
  // All may have been done before it started; it listens to signals once it works.
  await streaming(connector);
  connector.child.kill('SIGTERM');
  expect(await connector.exited).toBe(0);

  const versions = new Map<string, string[]>();
  for (const { body } of fhir.writes)
    versions.set(mrnOf(body), [...(versions.get(mrnOf(body)) ?? []), versionIn(body)]);
  const all = Array.from({ length: times }, (_, version) => String(version));
  expect(versions.size).toBe(PATIENTS);
  for (const [who, seen] of versions) expect(seen, who).toEqual(all);
  expect((await database.pool.query('SELECT FROM fhir_dlq')).rowCount).toBe(0);
  expect(await records()).toBe(PATIENTS * times);
  const repeated = arrived.length - new Set(arrived).size;
  console.log(
    `${times} kills, ${PATIENTS * times} transactions: ${inFlight} writes were in flight at a kill, ${repeated} were sent again.`,
  );
  expect(inFlight).toBeGreaterThan(times);
  return { inFlight, repeated };
}

function start(settings: Record<string, string>): void {
  connector = spawnConnector({ ...connectorEnvironment(database, fhir.url), LOG_LEVEL: 'warn', ...settings });
}

/** One version of each patient, each in a transaction of its own. */
function commit(version: number): Promise<unknown> {
  return database.pool.query(`DO $$ BEGIN
    FOR patient_no IN 1..${PATIENTS} LOOP
      INSERT INTO public.patient (id, identifier_system, identifier_value, phone_number)
      VALUES (patient_no, 'urn:t', 'P-' || patient_no, ${version})
      ON CONFLICT ON CONSTRAINT patient_pkey DO UPDATE SET phone_number = excluded.phone_number;
      COMMIT;
    END LOOP;
  END $$`);
}

async function records(): Promise<number> {
  return (
    (await database.pool.query<{ n: number }>('SELECT count(*)::int AS n FROM fhir_processed_event')).rows[0]?.n ?? 0
  );
}

function versionIn(body: Record<string, unknown> | null): string {
  return (body?.telecom as { value: string }[] | undefined)?.[0]?.value ?? '';
}
