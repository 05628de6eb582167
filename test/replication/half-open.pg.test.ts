// Connections to PostgreSQL that die without a word: the connector notices by itself, and nothing is lost.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type RunningConnector, startConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirLedger, tokensOf } from '../support/fhir-ledger.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

let database: TestDatabase;
let fhir: FhirLedger;
let proxy: TcpProxy;
let connector: RunningConnector;

beforeEach(async () => {
  database = await createDatabase();
  fhir = await FhirLedger.start();
  const { host, port } = database.config;
  proxy = await TcpProxy.start(host, port);
  // As the command sets it.
  const config = { ...database.config, host: '127.0.0.1', port: proxy.port, connectionTimeoutMillis: 10_000 };
  connector = startConnector({ name: database.name, config }, fhir.url);
  await expect.poll(() => connector.metrics.connectorState.get(), { timeout: 20_000 }).toBe('streaming');
});

afterEach(async () => {
  await connector.stop();
  await proxy.stop();
  await database.drop();
  await fhir.stop();
});

it('the connector is connected again after all connections fell silent, while idle', { timeout: 120_000 }, async () => {
  proxy.fallSilent();
  await expect.poll(() => connector.metrics.connectorState.get(), { timeout: 30_000 }).toBe('reconnecting');
  proxy.recover();
  await insert('after');
  await expect.poll(delivered, { timeout: 60_000 }).toEqual(['t|after']);
});

it('the connector finishes what was being recorded when all connections fell silent', {
  timeout: 120_000,
}, async () => {
  const silent = Promise.withResolvers<void>();
  const arrived = new Promise<void>((resolve) => {
    fhir.fault = ({ method }) => {
      if (method !== 'PUT') return undefined;
      resolve();
      return { delay: silent.promise };
    };
  });
  await insert('before');
  // The PUT is on its way; its record will be written into the silence.
  await arrived;
  proxy.fallSilent();
  silent.resolve();
  await expect.poll(delivered, { timeout: 20_000 }).toEqual(['t|before']);
  await expect.poll(() => connector.metrics.connectorState.get(), { timeout: 30_000 }).toBe('reconnecting');
  proxy.recover();
  await insert('after');
  await expect.poll(delivered, { timeout: 60_000 }).toEqual(['t|before', 't|after']);
  await expect
    .poll(async () => (await database.pool.query('SELECT FROM fhir_outbox WHERE NOT processed')).rowCount, {
      timeout: 30_000,
    })
    .toBe(0);
});

function delivered(): string[] {
  return fhir.writes.flatMap(({ body }) => tokensOf(body));
}

async function insert(mrn: string): Promise<void> {
  await database.pool.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('t', $1)`, [mrn]);
}
