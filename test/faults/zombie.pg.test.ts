// A connector that is stopped in its tracks for longer than PostgreSQL waits for it, and wakes when another has gone on.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type ConnectorProcess, connectorEnvironment, spawnConnector } from '../support/connector.ts';
import { metricOf } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { Dice } from '../support/dice.ts';
import { FhirLedger, tokensOf } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';
import { COUNT_UP } from '../support/patients.ts';

const PATIENCE = { timeout: 60_000 };
const SEED = 7;
const FREEZES = 3;
const PATIENTS = 40;
const CONCURRENCY = 4;

let database: TestDatabase;
let fhir: FhirLedger;
let connectors: Record<string, ConnectorProcess>;

beforeEach(async () => {
  database = await createDatabase();
  fhir = await FhirLedger.start();
  connectors = Object.fromEntries(['first', 'second'].map((via) => [via, start(via)]));
});

afterEach(async () => {
  for (const { child, exited } of Object.values(connectors)) {
    child.kill('SIGKILL');
    await exited;
  }
  await database.drop();
  await fhir.stop();
});

function start(via: string): ConnectorProcess {
  return spawnConnector({
    ...connectorEnvironment(database, `http://127.0.0.1:${fhir.port}/${via}/fhir`),
    FHIR_CONCURRENCY: String(CONCURRENCY),
  });
}

it('a connector that was stopped in its tracks overwrites nothing that its successor wrote, sends nothing of what it had waiting, and stands by', {
  timeout: 180_000,
}, async () => {
  const dice = new Dice(SEED, 0);
  const writes: { via: string; at: number }[] = [];
  /** While a burst of changes is committed the server keeps its answers back, so that they gather in the connector. */
  let burst: Promise<unknown> | null = null;
  /** Set shortly before a freeze: some of the requests that come now are answered only after the thaw. */
  let thaw: Promise<unknown> | null = null;
  fhir.fault = ({ method, via }) => {
    if (method !== 'PUT') return undefined;
    writes.push({ via, at: performance.now() });
    return { delay: burst ?? (thaw && dice.chance(50) ? thaw : delay(dice.int(5, 15))) };
  };
  await database.pool.query(
    `INSERT INTO patient (identifier_system, identifier_value, phone_number)
     SELECT 'urn:t', 'P-' || n, '0' FROM generate_series(1, $1) AS n`,
    [PATIENTS],
  );
  await allProcessed(database);

  let versions = 1;
  for (let freeze = 0; freeze < FREEZES; freeze += 1) {
    await expect.poll(() => streams('first') !== streams('second'), PATIENCE).toBe(true);
    const [zombie, successor] = streams('first') ? ['first', 'second'] : ['second', 'first'];
    const committed = Promise.withResolvers<void>();
    burst = committed.promise;
    await countUp(6);
    versions += 6;
    burst = null;
    const before = writes.length;
    committed.resolve();
    await expect.poll(() => writes.length - before, { ...PATIENCE, interval: 5 }).toBeGreaterThan(dice.int(1, 60));
    const thawed = Promise.withResolvers<void>();
    thaw = thawed.promise;
    await delay(dice.int(0, 40));
    // Requests on their way, others in its memory that it has not sent.
    const waiting =
      (await metric(zombie, 'fhir_deliveries_queued')) - (await metric(zombie, 'fhir_deliveries_in_flight'));
    const sentBefore = writes.length;
    connectors[zombie]?.child.kill('SIGSTOP');
    thaw = null;
    expect(waiting - (writes.length - sentBefore)).toBeGreaterThan(50);

    const changes = changeOnAndOn();
    await expect.poll(() => streams(successor), PATIENCE).toBe(true);
    // The successor has written newer states of all the patients.
    await expect.poll(() => versionsOf().every((seen) => seen > versions), PATIENCE).toBe(true);
    const wokenAt = performance.now();
    const said = connectors[zombie]?.log.length ?? 0;
    thawed.resolve();
    connectors[zombie]?.child.kill('SIGCONT');
    await expect
      .poll(() => connectors[zombie]?.log.slice(said).some(({ msg }) => msg.includes('standing by')), PATIENCE)
      .toBe(true);
    versions += await changes.stop();
    await allProcessed(database);
    // At most what had been decided on when it froze, which If-Match refuses.
    const woken = writes.filter(({ via, at }) => via === zombie && at > wokenAt);
    expect(woken.length).toBeLessThanOrEqual(CONCURRENCY);
    expect(streams(zombie)).toBe(false);
    // It has let go of what it had waiting: that is its successor's now.
    await expect.poll(() => metric(zombie, 'fhir_deliveries_queued'), PATIENCE).toBe(0);
    await expect.poll(() => metric(zombie, 'fhir_deliveries_in_flight'), PATIENCE).toBe(0);
  }

  const all = Array.from({ length: versions }, (_, version) => String(version));
  for (const [id, phones] of phonesById()) expect(phones, id).toEqual(all);
  const { rows } = await database.pool.query('SELECT DISTINCT phone_number AS phone FROM patient');
  expect(rows).toEqual([{ phone: String(versions - 1) }]);
  expect((await database.pool.query('SELECT FROM fhir_dlq')).rowCount).toBe(0);
});

/** Each patient so many times, each change in a transaction of its own. */
async function countUp(times: number): Promise<void> {
  await database.pool.query(`DO $$ BEGIN
    FOR n IN 1..${times} LOOP
      FOR patient_no IN 1..${PATIENTS} LOOP
        UPDATE public.patient AS p SET phone_number = (p.phone_number::int + 1)::text WHERE p.id = patient_no;
        COMMIT;
      END LOOP;
    END LOOP;
  END $$`);
}

/** Counts all patients up, about twice a second, until `stop`, which returns how often. */
function changeOnAndOn(): { stop(): Promise<number> } {
  let stopped = false;
  const counting = (async () => {
    let times = 0;
    for (; !stopped; times += 1) {
      await database.pool.query(COUNT_UP, [Array.from({ length: PATIENTS }, (_, n) => n + 1)]);
      await delay(500);
    }
    return times;
  })();
  return {
    stop() {
      stopped = true;
      return counting;
    },
  };
}

/** By its log: it holds the slot, as far as it knows. */
function streams(via: string): boolean {
  const states = connectors[via]?.log
    .map(({ msg }) => msg)
    .filter((msg) => /^Streaming\.|connecting again|standing by/.test(msg));
  return states?.at(-1) === 'Streaming.';
}

const metric = (via: string, name: string) => metricOf(connectors[via] ?? { log: [] }, name);

/** Resource id → the counter in each of its versions, in order. */
function phonesById(): Map<string, string[]> {
  const byId = Map.groupBy(fhir.writes, ({ id }) => id);
  return new Map(
    [...byId].map(([id, versions]) => [
      `${id} ${tokensOf(versions[0]?.body ?? null)[0]}`,
      versions.map(({ body }) => (body?.telecom as { value: string }[] | undefined)?.[0]?.value ?? ''),
    ]),
  );
}

function versionsOf(): number[] {
  return [...phonesById().values()].map(({ length }) => length);
}
