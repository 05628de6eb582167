// `doctor` of one shard says how the others stand: one that nobody serves, and connectors of another number.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Finding } from '../../src/doctor/finding.ts';
import { runCommand } from '../support/command.ts';
import { connectorEnvironment, slotOf, startConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { Shards } from '../support/shards.ts';

let database: TestDatabase;
let sink: FhirSink;
let connectors: Shards;

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
  connectors = new Shards(database, sink.url);
});

afterEach(async () => {
  await connectors.stop();
  await database.drop();
  await sink.stop();
});

async function finding(count: number): Promise<Finding | undefined> {
  const environment = { ...connectorEnvironment(database, sink.url), SHARD_COUNT: String(count), SHARD_INDEX: '0' };
  const { stdout } = await runCommand(environment, 'doctor', '--json');
  return (JSON.parse(stdout) as Finding[]).find(({ check }) => check === 'Other shards');
}

it('a shard that nobody serves is named, once one is served', async () => {
  expect(await finding(2)).toMatchObject({ verdict: 'ok', found: expect.stringMatching(/No connector runs yet/) });
  await connectors.start(2);
  expect(await finding(2)).toMatchObject({ verdict: 'ok', found: expect.stringMatching(/Each of the other 1/) });
  await connectors.running[1]?.stop();
  expect(await finding(2)).toMatchObject({
    verdict: 'warning',
    found: `Nobody reads ${slotOf(database)}_1_of_2: the patients of that shard are not delivered.`,
    fix: { say: expect.stringMatching(/Start a connector for each SHARD_INDEX/) },
  });
});

it('connectors of another number, and what they left, are told of', async () => {
  expect(await finding(1)).toBeUndefined();
  await connectors.start(2);
  expect(await finding(1)).toMatchObject({
    verdict: 'warning',
    found: expect.stringMatching(/^Connectors with another SHARD_COUNT read .*_0_of_2, .*_1_of_2/),
  });
  await connectors.stop();
  expect(await finding(1)).toMatchObject({ verdict: 'warning', found: expect.stringMatching(/nobody reads them/) });
  const one = startConnector(database, sink.url);
  await vi.waitFor(() => expect(one.metrics.connectorState.get()).toBe('streaming'), { timeout: 20_000 });
  expect(await finding(1)).toBeUndefined();
  await one.stop();
});
