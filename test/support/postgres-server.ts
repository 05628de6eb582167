// The one PostgreSQL of a test run: a container where a Docker engine answers, otherwise the embedded one.

import { PostgreSqlContainer } from '@testcontainers/postgresql';
import { getContainerRuntimeClient } from 'testcontainers';
import type { TestProject } from 'vitest/node';
import { startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { composeImage } from './compose-image.ts';
import { withClient } from './with-client.ts';

/** How to reach the server as a superuser. */
export interface PostgresServer {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

interface ProvidedServer extends PostgresServer {
  readonly connector: typeof CONNECTOR;
}

/** All that a connector's login has is the role, to which the migrations give its rights in each database, and REPLICATION. */
const CONNECTOR = { user: 'tests_connector', password: 'connector' } as const;

declare module 'vitest' {
  interface ProvidedContext {
    postgres: ProvidedServer;
  }
}

const settings = {
  wal_level: 'logical',
  max_replication_slots: '40',
  max_wal_senders: '40',
  max_connections: '200',
  max_prepared_transactions: '20',
  fsync: 'off',
};

type Running = PostgresServer & { readonly kind: string; stop(): Promise<unknown> };

/** Starts it before all test files and returns what stops it after them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { kind, stop, host, port, user, password } = (await dockerAnswers()) ? await inContainer() : await embedded();
  const server = { host, port, user, password };
  console.log(`Tests run on PostgreSQL ${await versionOf(server)}, ${kind}, port ${port}.`);
  await withClient({ ...server, database: 'postgres' }, (client) =>
    client.query(
      `CREATE ROLE fhir_connector NOLOGIN;
       CREATE ROLE ${CONNECTOR.user} LOGIN REPLICATION PASSWORD '${CONNECTOR.password}' IN ROLE fhir_connector`,
    ),
  );
  project.provide('postgres', { ...server, connector: CONNECTOR });
  return async () => {
    await stop();
  };
}

async function dockerAnswers(): Promise<boolean> {
  if (process.env.TEST_POSTGRES === 'embedded') return false;
  return getContainerRuntimeClient().then(
    () => true,
    () => false,
  );
}

async function inContainer(): Promise<Running> {
  const image = process.env.PG_IMAGE ?? composeImage('postgres');
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const container = await new PostgreSqlContainer(image)
    .withUsername('postgres')
    .withCommand(['postgres', ...flags])
    .start();
  return {
    kind: `container of ${image}`,
    host: container.getHost(),
    port: container.getPort(),
    user: container.getUsername(),
    password: container.getPassword(),
    stop: () => container.stop(),
  };
}

async function embedded(): Promise<Running> {
  const { host, port, user, password, stop } = await startEmbeddedPostgres({ settings, fsync: false });
  return { kind: 'embedded', host, port, user, password, stop: () => stop('immediate') };
}

async function versionOf(server: PostgresServer): Promise<string> {
  const { rows } = await withClient({ ...server, database: 'postgres' }, (client) =>
    client.query<{ server_version: string }>('SHOW server_version'),
  );
  return rows[0]?.server_version ?? '';
}
