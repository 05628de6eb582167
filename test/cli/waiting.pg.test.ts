// What is not up yet is waited for: a clear line a second, no exit, and then the work goes on by itself.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { capabilityStatement } from '../support/capability-statement.ts';
import { type ConnectorProcess, connectorEnvironment, spawnConnector } from '../support/connector.ts';
import { FhirSink } from '../support/fhir-sink.ts';

const PATIENCE = { timeout: 30_000 };

// A server of its own, because it is stopped.
let server: EmbeddedPostgres;
let sink: FhirSink;
let environment: Record<string, string>;

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false });
  sink = await FhirSink.start();
  const { host, port, user, password } = server;
  environment = connectorEnvironment(
    { name: 'waiting', config: { host, port, user, password, database: 'postgres' } },
    sink.url,
  );
});

afterAll(async () => {
  await sink.stop();
  await server.stop('immediate');
});

function start(command: 'run' | 'migrate', others: Readonly<Record<string, string>> = {}): ConnectorProcess {
  const connector = spawnConnector({ ...environment, ...others }, command);
  onTestFinished(() => {
    connector.child.kill('SIGKILL');
  });
  return connector;
}

/** Waits for three lines that say it, and checks that they came a second apart and that the process still runs. */
async function saysOnceASecond(connector: ConnectorProcess, sentence: RegExp): Promise<void> {
  const started = performance.now();
  const lines = () => connector.log.filter(({ msg }) => sentence.test(msg));
  await expect.poll(() => lines().length, PATIENCE).toBeGreaterThan(2);
  expect(lines().length).toBeLessThanOrEqual((performance.now() - started) / 1000 + 1);
  const times = lines().flatMap(({ time }) => (typeof time === 'string' ? [Date.parse(time)] : []));
  for (const [index, time] of times.slice(1).entries()) expect(time - (times[index] ?? 0)).toBeGreaterThan(900);
  expect(connector.child.exitCode).toBeNull();
  expect(connector.stderr).toEqual([]);
}

async function says(connector: ConnectorProcess, sentence: string): Promise<void> {
  await expect.poll(() => connector.log.some(({ msg }) => msg === sentence), PATIENCE).toBe(true);
}

describe('PostgreSQL that is not up yet', () => {
  it('is waited for by migrate, which then does its work', async () => {
    await server.pause('fast');
    const migration = start('migrate');
    await saysOnceASecond(migration, /PostgreSQL does not answer at DB_HOST:DB_PORT yet/);
    await server.start();
    expect(await migration.exited).toBe(0);
    await says(migration, 'The schema is up to date.');
  });

  it('is waited for by run, which then streams', async () => {
    await server.pause('fast');
    const connector = start('run');
    await saysOnceASecond(connector, /PostgreSQL does not answer at DB_HOST:DB_PORT yet/);
    await server.start();
    await says(connector, 'Streaming.');
    connector.child.kill('SIGTERM');
    expect(await connector.exited).toBe(0);
  });

  it('is waited for no longer after SIGTERM', async () => {
    await server.pause('fast');
    const connector = start('run');
    await saysOnceASecond(connector, /PostgreSQL does not answer/);
    connector.child.kill('SIGTERM');
    expect(await connector.exited).toBe(0);
    await server.start();
  });
});

describe('a FHIR server that is not up yet', () => {
  it('is waited for by run, which then streams', async () => {
    await sink.stop();
    const connector = start('run');
    await saysOnceASecond(connector, /FHIR server does not answer yet: .*cannot be reached/);
    await sink.resume();
    await says(connector, 'Streaming.');
    connector.child.kill('SIGTERM');
    expect(await connector.exited).toBe(0);
  });

  it.each([400, 404])(
    'and one that answers %i, for it may be starting, or its address is not the base URL',
    async (no) => {
      let deployed = false;
      const fhir = createServer((_, response) => {
        if (deployed) response.end(JSON.stringify(capabilityStatement('A server')));
        else response.writeHead(no).end(JSON.stringify({ resourceType: 'OperationOutcome', issue: [] }));
      });
      await new Promise<void>((resolve) => fhir.listen(0, '127.0.0.1', resolve));
      onTestFinished(() => void fhir.close());
      const { port } = fhir.address() as AddressInfo;
      const connector = start('run', { FHIR_SERVER: `http://127.0.0.1:${port}/fhir` });
      await saysOnceASecond(
        connector,
        /^The FHIR server answers, but has no CapabilityStatement .* is not the base URL.*Trying again every second\.$/,
      );
      deployed = true;
      await says(connector, 'Streaming.');
      connector.child.kill('SIGTERM');
      expect(await connector.exited).toBe(0);
    },
  );
});
