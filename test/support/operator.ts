// A login for people on a test database, with the rights of the role fhir_operator and none beside.
import { connectorEnvironment, type DatabaseTarget } from './connector.ts';
import type { TestDatabase } from './database.ts';
import { withClient } from './with-client.ts';

export interface Operator {
  /** For a command: the variables that it needs. */
  readonly environment: Record<string, string>;
  drop(): Promise<void>;
}

export async function createOperator(database: TestDatabase, fhirUrl: string): Promise<Operator> {
  const name = `${database.name}_operator`;
  await database.pool.query(`CREATE ROLE ${name} LOGIN PASSWORD 'operator' IN ROLE fhir_operator`);
  const login = { ...database.config, user: name, password: 'operator' };
  return {
    environment: connectorEnvironment({ name: database.name, config: login }, fhirUrl),
    drop: async () => void (await database.pool.query(`DROP ROLE ${name}`)),
  };
}

/** Runs statements as a restore or a replica would: no trigger sees them. */
export async function withoutTriggers(database: DatabaseTarget, statements: string): Promise<void> {
  await withClient(database.config, (client) => client.query(`SET session_replication_role = replica; ${statements}`));
}
