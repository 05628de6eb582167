// End to end under a second: from before COMMIT is sent to the PUT's arrival, at a gentle rate. (The bench measures closely.)
import { setInterval } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allProcessed } from '../support/outbox.ts';
import { addPatient } from '../support/patients.ts';
import { type Scenario, startScenario } from '../support/scenario.ts';

const TRANSACTIONS = 60;
const INTERVAL_MS = 50;

let scenario: Scenario;

beforeAll(async () => {
  scenario = await startScenario();
});

afterAll(() => scenario.end());

describe('a committed change', () => {
  it('arrives as a PUT within a second', async () => {
    const { database, sink } = scenario;
    const patients: number[] = [];
    for (let n = 0; n < 10; n += 1) patients.push(await addPatient(database, `L-${n}`));
    await allProcessed(database);

    const committedAt = new Map<string, number>();
    const client = await database.pool.connect();
    for await (const _ of setInterval(INTERVAL_MS)) {
      const n = committedAt.size;
      await client.query('BEGIN');
      await client.query('UPDATE patient SET phone_number = $1 WHERE id = $2', [
        `+1-${n}`,
        patients[n % patients.length],
      ]);
      // Before, not after: the PUT may arrive before the client has heard that the COMMIT succeeded.
      committedAt.set(`+1-${n}`, performance.now());
      await client.query('COMMIT');
      if (committedAt.size === TRANSACTIONS) break;
    }
    client.release();
    await allProcessed(database);

    const latencies = sink.puts.flatMap(({ body, at }) => {
      const committed = committedAt.get((body.telecom as { value: string }[] | undefined)?.[0]?.value ?? '');
      return committed === undefined ? [] : [at - committed];
    });
    expect(latencies).toHaveLength(TRANSACTIONS);
    expect(Math.max(...latencies)).toBeLessThan(1000);
    // The connector's own measure, which the dashboard shows, agrees.
    const measured = await scenario.connector.metrics.commitToPut.get();
    const withinASecond = measured.values.find(({ labels }) => labels.le === 1)?.value;
    expect(withinASecond).toBe(TRANSACTIONS + patients.length);
  });
});
