// Connections to PostgreSQL that die without a word: the connector notices by itself, and nothing is lost.
import { describe, it, type TestContext } from 'vitest';
import { startConnector } from '../support/connector.ts';
import { streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirLedger, tokensOf } from '../support/fhir-ledger.ts';
import { allProcessed } from '../support/outbox.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

/** A connector that streams through a proxy, until the test has ended. */
async function start(onTestFinished: TestContext['onTestFinished']) {
  const database = await createDatabase();
  const fhir = await FhirLedger.start();
  const { host, port } = database.config;
  const proxy = await TcpProxy.start(host, port);
  // As the command sets it.
  const config = { ...database.config, host: '127.0.0.1', port: proxy.port, connectionTimeoutMillis: 10_000 };
  const connector = startConnector({ name: database.name, config }, fhir.url);
  onTestFinished(async () => {
    await connector.stop();
    await proxy.stop();
    await database.drop();
    await fhir.stop();
  }, 60_000);
  await streaming(connector);
  const delivered = () => fhir.writes.flatMap(({ body }) => tokensOf(body));
  return { database, fhir, proxy, connector, delivered };
}

async function insert({ pool }: TestDatabase, mrn: string): Promise<void> {
  await pool.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('t', $1)`, [mrn]);
}

// Each waits for half a minute for what nobody tells it.
describe.concurrent('all connections fell silent', { timeout: 120_000 }, () => {
  it('while the connector was idle: it is connected again', async ({ expect, onTestFinished }) => {
    const { database, proxy, connector, delivered } = await start(onTestFinished);
    proxy.fallSilent();
    await expect.poll(() => connector.metrics.connectorState.get(), { timeout: 30_000 }).toBe('reconnecting');
    proxy.recover();
    await insert(database, 'after');
    await expect.poll(delivered, { timeout: 60_000 }).toEqual(['t|after']);
  });

  it('while a delivery was being recorded: the connector finishes it', async ({ expect, onTestFinished }) => {
    const { database, fhir, proxy, connector, delivered } = await start(onTestFinished);
    const silent = Promise.withResolvers<void>();
    const arrived = new Promise<void>((resolve) => {
      fhir.fault = ({ method }) => {
        if (method !== 'PUT') return undefined;
        resolve();
        return { delay: silent.promise };
      };
    });
    await insert(database, 'before');
    // The PUT is on its way; its record will be written into the silence.
    await arrived;
    proxy.fallSilent();
    silent.resolve();
    await expect.poll(delivered, { timeout: 20_000 }).toEqual(['t|before']);
    await expect.poll(() => connector.metrics.connectorState.get(), { timeout: 30_000 }).toBe('reconnecting');
    proxy.recover();
    await insert(database, 'after');
    await expect.poll(delivered, { timeout: 60_000 }).toEqual(['t|before', 't|after']);
    await allProcessed(database);
  });
});
