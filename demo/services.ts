// What the demonstration consists of, started in order: PostgreSQL with the schema, the FHIR server, the connector.

import { randomBytes } from 'node:crypto';
import { styleText } from 'node:util';
import pg from 'pg';
import { alignedLine } from '../src/cli/output.ts';
import { migrate } from '../src/schema/migrate.ts';
import { type Connector, startConnector } from './connector.ts';
import { startEmbeddedPostgres } from './embedded-postgres.ts';
import { type FhirServer, startFhirServer } from './fhir-server.ts';
import type { FhirWrite } from './fhir-write.ts';
import type { Say } from './live-view.ts';
import { publishDemo, type RunningDemo } from './running-demo.ts';
import { Watch } from './watch.ts';

export interface Services {
  /** With the application's login. */
  readonly database: RunningDemo;
  /** With an operator's, who sees the connector's tables. */
  readonly operators: RunningDemo;
  /** The connection of the tables' owner, who may take the application's role. */
  readonly owner: pg.Client;
  readonly application: pg.Client;
  readonly operator: pg.Client;
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
  const superuser = { pid: process.pid, host, port, user, password, database: DATABASE };
  const lost = new AbortController();
  const connection = (login: RunningDemo, name: string) =>
    connect(open, login, name, () => lost.abort(new Error('The connection to PostgreSQL was lost.')));
  const owner = await connection(await makeDatabase(superuser), 'fhir-connector demo, the owner');
  await migrate(owner, { sample: false });
  // For sql/test_events.sql, whose changes are the application's.
  await owner.query('GRANT fhir_app TO CURRENT_USER');
  const watching = await connection(superuser, 'fhir-connector demo, watching');
  const logins = await makeLogins(watching, superuser);
  const watch = await Watch.start(watching, SLOT, PUBLICATION);
  await migrate(owner, { sample: true });
  const application = await connection(logins.application, 'fhir-connector demo');
  const operator = await connection(logins.operator, 'fhir-connector demo, looking');
  await publishDemo(postgres.home, logins.application);
  say(serviceLine('PostgreSQL', `${host}:${port}, database ${DATABASE}`, PORTS.postgres, port));
  say(serviceLine('', 'wal_level=logical, schema and triggers from sql/migrations, five patients from sql/sample'));
  say(serviceLine('FHIR R4 server', fhir.url, PORTS.fhir, fhir.port));
  signal.throwIfAborted();

  const environment = { ...environmentOf(logins.connector), FHIR_SERVER: fhir.url };
  const warn = (warning: string) => say(styleText('yellow', `connector: ${warning}`));
  const connector = await startConnector(environment, PORTS.metrics, warn);
  open.defer(connector.stop);
  const metrics = `http://127.0.0.1:${connector.metricsPort}/metrics`;
  say(serviceLine('Connector', `process ${connector.pid}, ${metrics}`, PORTS.metrics, connector.metricsPort));
  return {
    database: logins.application,
    operators: logins.operator,
    owner,
    application,
    operator,
    watch,
    fhir,
    connector,
    ended: AbortSignal.any([lost.signal, connector.ended]),
  };
}

function serviceLine(what: string, where: string, wanted = 0, got = 0): string {
  const other = wanted === got ? '' : styleText('yellow', `  (port ${wanted} is taken, so this one)`);
  return alignedLine([what, where + other], [16]);
}

/** A login on the database of the demonstration, with a password of its own. */
function loginOf(user: string, superuser: RunningDemo): RunningDemo {
  return { ...superuser, user, password: randomBytes(12).toString('hex') };
}

/** The database belongs to a login that is no superuser, as it should elsewhere; `migrate` runs with it. */
async function makeDatabase(superuser: RunningDemo): Promise<RunningDemo> {
  const owner = loginOf('owner', superuser);
  const { pid: _, ...connection } = superuser;
  const client = new pg.Client({ ...connection, database: 'postgres' });
  await client.connect();
  try {
    await client.query(`CREATE ROLE ${owner.user} LOGIN CREATEROLE PASSWORD '${owner.password}'`);
    await client.query(`CREATE DATABASE ${DATABASE} OWNER ${owner.user}`);
  } finally {
    await client.end();
  }
  return owner;
}

/** Logins as docs/roles.md makes them, in the roles that `migrate` has made. */
async function makeLogins(client: pg.Client, superuser: RunningDemo) {
  const logins = {
    application: loginOf('application', superuser),
    connector: loginOf('connector', superuser),
    operator: loginOf('operator', superuser),
  };
  await client.query(
    `CREATE ROLE application LOGIN PASSWORD '${logins.application.password}' IN ROLE fhir_app;
     CREATE ROLE connector LOGIN REPLICATION PASSWORD '${logins.connector.password}' IN ROLE fhir_connector;
     CREATE ROLE operator LOGIN PASSWORD '${logins.operator.password}' IN ROLE fhir_operator`,
  );
  return logins;
}

/** The variables with which the connector uses this login. */
function environmentOf({ host, port, user, password }: RunningDemo): Record<string, string> {
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
