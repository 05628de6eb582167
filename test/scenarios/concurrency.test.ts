// Many writers, many patients: each patient's PUTs in commit order and never two at once, patients side by side.
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dice } from '../support/dice.ts';
import { primaryValue } from '../support/fhir-sink.ts';
import { allProcessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { addPatient, COUNT_UP } from '../support/patients.ts';
import { type Scenario, startScenario } from '../support/scenario.ts';
import { countsOf, inOneTransaction } from './setup.ts';

/** How long the server takes. */
const dice = new Dice(1, 0);

let scenario: Scenario;

beforeAll(async () => {
  scenario = await startScenario();
});

afterAll(() => scenario.end());

describe('many writers', () => {
  it('are delivered per patient in commit order, never two of one patient at once, patients side by side', async () => {
    const { database, sink } = scenario;
    const patients: number[] = [];
    for (let n = 0; n < 40; n += 1) patients.push(await addPatient(database, `MANY-${n}`));
    await allProcessed(database);
    const before = sink.puts.length;

    const running = new Map<string, number>();
    let most = 0;
    let mostOfOnePatient = 0;
    sink.script(async (body) => {
      const value = primaryValue(body);
      running.set(value, (running.get(value) ?? 0) + 1);
      most = Math.max(
        most,
        [...running.values()].reduce((sum, n) => sum + n, 0),
      );
      mostOfOnePatient = Math.max(mostOfOnePatient, running.get(value) ?? 0);
      // A server answers in its own time, so a PUT that did not wait for its predecessor would overtake it.
      await delay(dice.int(0, 10));
      running.set(value, (running.get(value) ?? 0) - 1);
      return undefined;
    });

    const written = new Map(patients.map((id) => [id, 0]));
    const write = async (writer: number) => {
      for (let n = 0; n < 50; n += 1) {
        // Every fifth transaction touches two patients, in the order of their ids as an application would lock them.
        const first = (writer * 7 + n * 3) % patients.length;
        const touched = [first, ...(n % 5 === 0 ? [(first + 11) % patients.length] : [])].toSorted((a, b) => a - b);
        const ids = touched.map((index) => patients[index] ?? 0);
        await database.pool.query(COUNT_UP, [ids]);
        for (const id of ids) written.set(id, (written.get(id) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: 10 }, (_, writer) => write(writer)));
    await allProcessed(database);

    const counts = countsOf(sink.puts.slice(before));
    for (const [index, id] of patients.entries()) {
      const upTo = Array.from({ length: written.get(id) ?? 0 }, (_, n) => n + 1);
      expect(counts.get(`MANY-${index}`)).toEqual(upTo);
    }
    expect(mostOfOnePatient).toBe(1);
    expect(most).toBeGreaterThan(4);
    sink.script(() => undefined);
  });
});

describe('a patient whose PUT hangs', () => {
  it('holds its own successors and nobody else', async () => {
    const { database, sink } = scenario;
    const slow = await addPatient(database, 'SLOW');
    const quick = await addPatient(database, 'QUICK');
    await allProcessed(database);
    const release = Promise.withResolvers<undefined>();
    sink.script((body) => (primaryValue(body) === 'SLOW' ? release.promise : undefined));
    await inOneTransaction(database, `UPDATE patient SET phone_number = '1' WHERE id IN (${slow}, ${quick})`);
    for (const id of [slow, quick, quick, quick]) await database.pool.query(COUNT_UP, [[id]]);

    await expect.poll(() => countsOf(sink.puts).get('QUICK'), PATIENCE).toEqual([0, 1, 2, 3, 4]);
    expect(countsOf(sink.puts).get('SLOW')).toEqual([0]);
    release.resolve(undefined);
    await allProcessed(database);
    expect(countsOf(sink.puts).get('SLOW')).toEqual([0, 1, 2]);
    sink.script(() => undefined);
  });
});
