// SIGTERM and SIGINT: what is in flight is finished, the last position is sent, exit status 0, and nothing comes twice.
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type ConnectorProcess, connectorEnvironment, slotOf, spawnConnector } from '../support/connector.ts';
import { streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink, primaryValue } from '../support/fhir-sink.ts';

const PATIENCE = { timeout: 30_000 };

let database: TestDatabase;
let sink: FhirSink;

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
});

afterEach(async () => {
  await database.drop();
  await sink.stop();
});

/** Starts `run` and waits until it streams. */
async function start(variables: Record<string, string> = {}): Promise<ConnectorProcess> {
  const connector = spawnConnector({ ...connectorEnvironment(database, sink.url), ...variables });
  onTestFinished(() => {
    connector.child.kill('SIGKILL');
  });
  await streaming(connector);
  return connector;
}

async function addPatients(...values: string[]): Promise<void> {
  for (const value of values) {
    await database.pool.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', $1)`, [
      value,
    ]);
  }
}

/** Holds every PUT until `release`, and tells which patients' have arrived. */
function hold(): { arrived: string[]; release(): void } {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const arrived: string[] = [];
  sink.script((body) => {
    arrived.push(primaryValue(body));
    return promise;
  });
  return { arrived, release: () => resolve(undefined) };
}

/** What the slot would send to the next connector: commits that were not acknowledged. */
async function unacknowledged(): Promise<number | undefined> {
  const { rows } = await database.pool.query<{ n: number }>(
    `SELECT count(*)::int AS n
       FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'fhir_outbox_pub')
      WHERE get_byte(data, 0) = ascii('C')`,
    [slotOf(database)],
  );
  return rows[0]?.n;
}

async function processed(): Promise<string[]> {
  const { rows } = await database.pool.query(
    'SELECT identifier_value AS value FROM fhir_outbox WHERE processed ORDER BY identifier_value',
  );
  return rows.map(({ value }) => value);
}

describe.each(['SIGTERM', 'SIGINT'] as const)('%s', (signal) => {
  it('finishes what is in flight, acknowledges it and exits with 0; the next start sends nothing again', async () => {
    const connector = await start();
    const held = hold();
    await addPatients('A', 'B', 'C');
    await expect.poll(() => held.arrived.toSorted(), PATIENCE).toEqual(['A', 'B', 'C']);
    connector.child.kill(signal);
    await expect.poll(() => connector.log.some(({ msg }) => msg.startsWith('Stopping')), PATIENCE).toBe(true);
    held.release();
    expect(await connector.exited).toBe(0);
    expect(connector.log.at(-1)?.msg).toBe('Stopped.');
    expect(connector.stderr).toEqual([]);
    expect(sink.values.toSorted()).toEqual(['A', 'B', 'C']);
    expect(await processed()).toEqual(['A', 'B', 'C']);
    expect(await unacknowledged()).toBe(0);

    const next = await start();
    await addPatients('D');
    await expect.poll(processed, PATIENCE).toContain('D');
    expect(sink.values.slice(3)).toEqual(['D']);
    next.child.kill(signal);
    expect(await next.exited).toBe(0);
  });
});

describe('SIGTERM, when something does not end within SHUTDOWN_TIMEOUT_MS', () => {
  it('exits with 0 all the same, acknowledges only what came before it, and the next start sends it again', async () => {
    const connector = await start({ SHUTDOWN_TIMEOUT_MS: '500' });
    await addPatients('BEFORE');
    await expect.poll(processed, PATIENCE).toEqual(['BEFORE']);
    const held = hold();
    await addPatients('HANGS');
    await expect.poll(() => held.arrived, PATIENCE).toEqual(['HANGS']);
    connector.child.kill('SIGTERM');
    expect(await connector.exited).toBe(0);
    expect(await unacknowledged()).toBe(1);
    expect(await processed()).toEqual(['BEFORE']);

    sink.script(() => undefined);
    const next = await start();
    await expect.poll(processed, PATIENCE).toEqual(['BEFORE', 'HANGS']);
    expect(sink.values).toEqual(['BEFORE', 'HANGS']);
    next.child.kill('SIGTERM');
    expect(await next.exited).toBe(0);
  });

  it('waits for it once, and no longer', async () => {
    const connector = await start({ SHUTDOWN_TIMEOUT_MS: '4000' });
    const held = hold();
    await addPatients('HANGS');
    await expect.poll(() => held.arrived, PATIENCE).toEqual(['HANGS']);
    const asked = performance.now();
    connector.child.kill('SIGTERM');
    expect(await connector.exited).toBe(0);
    const took = performance.now() - asked;
    expect(took).toBeGreaterThan(3900);
    expect(took).toBeLessThan(8000);
  });
});

describe('SIGTERM with a backlog', () => {
  it('starts nothing more, and leaves the rest to the next start, which sends each once', async () => {
    const connector = await start({ FHIR_CONCURRENCY: '2' });
    const held = hold();
    const backlog = Array.from({ length: 20 }, (_, n) => `B-${n}`);
    await addPatients(...backlog);
    await expect.poll(() => held.arrived.length, PATIENCE).toBe(2);
    connector.child.kill('SIGTERM');
    await expect.poll(() => connector.log.some(({ msg }) => msg.startsWith('Stopping')), PATIENCE).toBe(true);
    held.release();
    expect(await connector.exited).toBe(0);
    expect(sink.values).toHaveLength(2);

    const next = await start();
    await expect.poll(async () => (await processed()).length, PATIENCE).toBe(20);
    expect(sink.values.toSorted()).toEqual(backlog.toSorted());
    next.child.kill('SIGTERM');
    expect(await next.exited).toBe(0);
    expect(await unacknowledged()).toBe(0);
  });
});
