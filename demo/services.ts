// What the demonstration consists of, started in order: PostgreSQL with the schema, the FHIR server, the connector.

import { randomBytes } from 'node:crypto';
import { styleText } from 'node:util';
import pg from 'pg';
import { alignedLine } from '../src/cli/table.ts';
import { migrate } from '../src/migrate.ts';
import { type Connector, startConnector } from './connector.ts';
import { startEmbeddedPostgres } from './embedded-postgres.ts';
import { type FhirServer, startFhirServer } from './fhir-server.ts';
import type { FhirWrite } from './fhir-write.ts';
import type { Say } from './live-view.ts';
import { publishDemo, type RunningDemo } from './running-demo.ts';
import { Watch } from './watch.ts';

export interface Services {
  readonly database: RunningDemo;
  /** A superuser's connection to the database, as an application has one. */
  readonly client: pg.Client;
  readonly watch: Watch;
  readonly fhir: FhirServer;
  readonly connector: Connector;
  /** Aborted, with a sentence as its reason, when one of them has ended by itself. */
  readonly ended: AbortSignal;
}

/** Where people look for such servers first. */
const PORTS = { postgres: 5432, fhir: 8080, metrics: 9464 };
export const SLOT = 'fhir_outbox_slot';
const PUBLICATION = 'fhir_outbox_pub';
const DATABASE = 'health';

/** Whatever is started is ended by `open`, in reverse order, also when a later start fails. */
export async function startServices(
  open: AsyncDisposableStack,
  onWrite: (write: FhirWrite) => void,
  say: Say,
  signal: AbortSignal,
): Promise<Services> {
  // Both take a second or so: they start side by side. A failure of the first is told where it is awaited.
  const starting = startEmbeddedPostgres({ port: PORTS.postgres, fsync: false });
  const stopped = starting.then(
    (postgres) => open.defer(() => postgres.stop('fast')),
    () => undefined,
  );
  const fhir = await startFhirServer({ port: PORTS.fhir, onWrite }).finally(() => stopped);
  open.defer(fhir.close);
  const postgres = await starting;
  signal.throwIfAborted();

  const { host, port, user, password } = postgres;
  const database = { pid: process.pid, host, port, user, password, database: DATABASE };
  const lost = new AbortController();
  const connection = (name: string) =>
    connect(open, database, name, () => lost.abort(new Error('The connection to PostgreSQL was lost.')));
  await asAdministrator(database, (client) => client.query(`CREATE DATABASE ${DATABASE}`));
  const client = await connection('fhir-connector demo');
  await migrate(client, { sample: false });
  const watch = await Watch.start(await connection('fhir-connector demo, watching'), SLOT, PUBLICATION);
  await migrate(client, { sample: true });
  await publishDemo(postgres.home, database);
  say(serviceLine('PostgreSQL', `${host}:${port}, database ${DATABASE}`, PORTS.postgres, port));
  say(serviceLine('', 'wal_level=logical, schema and triggers from sql/migrations, five patients from sql/sample'));
  say(serviceLine('FHIR R4 server', fhir.url, PORTS.fhir, fhir.port));
  signal.throwIfAborted();

  const environment = { ...(await connectorLogin(client, database)), FHIR_SERVER: fhir.url };
  const warn = (warning: string) => say(styleText('yellow', `connector: ${warning}`));
  const connector = await startConnector(environment, PORTS.metrics, warn);
  open.defer(connector.stop);
  const metrics = `http://127.0.0.1:${connector.metricsPort}/metrics`;
  say(serviceLine('Connector', `process ${connector.pid}, ${metrics}`, PORTS.metrics, connector.metricsPort));
  return { database, client, watch, fhir, connector, ended: AbortSignal.any([lost.signal, connector.ended]) };
}

function serviceLine(what: string, where: string, wanted = 0, got = 0): string {
  const other = wanted === got ? '' : styleText('yellow', `  (port ${wanted} is taken, so this one)`);
  return alignedLine([what, where + other], [16]);
}

/** A user with the rights that the README asks for, and the variables with which the connector uses it. */
async function connectorLogin(client: pg.Client, { host, port }: RunningDemo): Promise<Record<string, string>> {
  const user = 'connector';
  const password = randomBytes(12).toString('hex');
  await client.query(`CREATE ROLE ${user} LOGIN REPLICATION PASSWORD '${password}' IN ROLE fhir_connector`);
  const database = { DB_HOST: host, DB_PORT: String(port), DB_NAME: DATABASE, DB_USER: user, DB_PASSWORD: password };
  return { ...database, SLOT_NAME: SLOT, PUBLICATION_NAME: PUBLICATION, WORKER_ID: 'demo' };
}

async function connect(
  open: AsyncDisposableStack,
  { pid: _, ...database }: RunningDemo,
  name: string,
  onLost: () => void,
): Promise<pg.Client> {
  const client = new pg.Client({ ...database, application_name: name });
  client.on('error', onLost);
  await client.connect();
  open.defer(() => client.end());
  return client;
}

async function asAdministrator(
  { pid: _, ...database }: RunningDemo,
  work: (client: pg.Client) => Promise<unknown>,
): Promise<void> {
  const client = new pg.Client({ ...database, database: 'postgres' });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
