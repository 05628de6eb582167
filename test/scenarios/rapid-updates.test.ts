// Rapid successive updates: as many FHIR versions as commits, in order, and a trail that pairs them one to one.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allProcessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { addPatient, COUNT_UP } from '../support/patients.ts';
import { type Scenario, startScenario } from '../support/scenario.ts';
import { auditTrail, countsOf } from './setup.ts';

const UPDATES = 100;

let scenario: Scenario;

beforeAll(async () => {
  scenario = await startScenario();
});

afterAll(() => scenario.end());

describe('rapid updates of one patient', () => {
  it('make one version each, in order, each sent against the version before it', async () => {
    const { database, sink } = scenario;
    const id = await addPatient(database, 'RAPID');
    for (let n = 0; n < UPDATES; n += 1) await database.pool.query(COUNT_UP, [[id]]);
    await allProcessed(database);

    const puts = sink.putsOf('RAPID');
    const all = Array.from({ length: UPDATES + 1 }, (_, n) => n);
    expect(countsOf(puts).get('RAPID')).toEqual(all);
    expect(puts.map(({ version }) => version)).toEqual(all.map((n) => n + 1));
    expect(puts.map(({ ifMatch }) => ifMatch)).toEqual(all.map((n) => (n === 0 ? null : `W/"${n}"`)));
    const trail = await auditTrail(database, id);
    expect(trail.map(({ fhir_version }) => Number(fhir_version))).toEqual(all.map((n) => n + 1));
    expect(new Set(trail.map(({ txid }) => txid)).size).toBe(UPDATES + 1);
  });

  it('are not merged while they wait for a slow server', async () => {
    const { database, sink } = scenario;
    const id = await addPatient(database, 'WAITING');
    await allProcessed(database);
    const release = Promise.withResolvers<undefined>();
    let held = 0;
    sink.script(() => {
      held += 1;
      return release.promise;
    });
    for (let n = 0; n < 20; n += 1) await database.pool.query(COUNT_UP, [[id]]);
    await expect.poll(() => held, PATIENCE).toBe(1);
    release.resolve(undefined);
    await allProcessed(database);
    expect(countsOf(sink.puts).get('WAITING')).toEqual(Array.from({ length: 21 }, (_, n) => n));
  });
});
