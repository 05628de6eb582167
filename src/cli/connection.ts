// One connection for a command that a person or a script waits for: it works at once, or a sentence says why not.
import type pg from 'pg';
import { databaseClient } from '../config/database.ts';
import type { DatabaseConfig } from '../config/environment.ts';
import { FatalError } from '../fatal.ts';
import { PostgresClient } from '../postgres/client.ts';
import { errorCode, isPostgres } from '../postgres/errors.ts';
import { refusal } from '../replication/server/diagnosis.ts';

/** A lock held by somebody's open transaction is not waited for longer. */
const LOCK_TIMEOUT = '5s';

/**
 * Runs `work` on a connection of its own, with the rights that the role fhir_operator gives.
 *
 * @throws FatalError on whatever PostgreSQL refuses; its message never holds the server's, which may quote a row.
 */
export async function withConnection<T>(
  config: DatabaseConfig,
  command: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new PostgresClient({
    ...databaseClient(config),
    application_name: `fhir-connector ${command}`,
    options: `-c lock_timeout=${LOCK_TIMEOUT}`,
  });
  try {
    await client.connect();
  } catch (error) {
    throw new FatalError(refusal(error));
  }
  try {
    return await work(client);
  } catch (error) {
    throw error instanceof FatalError || !isPostgres(error) ? error : new FatalError(sentenceFor(error));
  } finally {
    await client.end().catch(() => undefined);
  }
}

function sentenceFor(error: unknown): string {
  switch (errorCode(error)) {
    case '42501':
      return "This user may not do that. Have an administrator run: GRANT fhir_operator TO <DB_USER>; and if that does not help, the tables' owner: SELECT public.fhir_grant_roles();";
    case '42P01':
    case '42703':
    case '42883':
      return 'The schema is missing, or older than this program: run `npm run connector -- migrate` as the owner of the tables.';
    case '55P03':
      return 'A transaction that is still open holds the patient locked: see pg_stat_activity, and try again once it has ended.';
    case '57014':
      return 'PostgreSQL took too long: does a transaction hold the tables locked, or is there very much to do? docs/runbook.md, DatabaseSilent, has the query that names it.';
    case '40001':
    case '40P01':
      return 'Somebody changed the same rows at the same moment: try again.';
    default:
      return `PostgreSQL did not carry it out (${errorCode(error) ?? 'the connection was lost'}).`;
  }
}
