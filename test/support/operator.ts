// A login for people on a test database, with the rights of the role fhir_operator and none beside.
import pg from 'pg';
import type { TestDatabase } from './database.ts';

export interface Operator {
  /** For a command: the variables that it needs. */
  readonly environment: Record<string, string>;
  drop(): Promise<void>;
}

export async function createOperator(database: TestDatabase, fhirUrl: string): Promise<Operator> {
  const name = `${database.name}_operator`;
  await database.pool.query(`CREATE ROLE ${name} LOGIN PASSWORD 'operator' IN ROLE fhir_operator`);
  const { host, port } = database.config;
  return {
    environment: {
      DB_HOST: host,
      DB_PORT: String(port),
      DB_NAME: database.name,
      DB_USER: name,
      DB_PASSWORD: 'operator',
      DB_SSLMODE: 'disable',
      FHIR_SERVER: fhirUrl,
    },
    drop: async () => void (await database.pool.query(`DROP ROLE ${name}`)),
  };
}

/** Runs statements as a restore or a replica would: no trigger sees them. */
export async function withoutTriggers(database: TestDatabase, statements: string): Promise<void> {
  const client = new pg.Client(database.config);
  await client.connect();
  try {
    await client.query(`SET session_replication_role = replica; ${statements}`);
  } finally {
    await client.end();
  }
}
