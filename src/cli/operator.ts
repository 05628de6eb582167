// What the operator's longer commands share: connections, sentences for what PostgreSQL refuses, and a stop by signal.
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { databaseClient } from '../config/database.ts';
import type { DatabaseConfig } from '../config/environment.ts';
import type { Database } from '../outbox/tables/database.ts';
import { connectTimeoutMs, PostgresClient } from '../postgres/client.ts';
import { withConnection } from './connection.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
/** Counting a large table takes its time. */
const LONGEST_MS = 600_000;
/** How much longer a server that still works may take to say that it gave a statement up. */
const ANSWER_MS = 5000;

/** A person or a supervisor ended the command. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/**
 * Runs `work` with connections of the role fhir_operator; SIGINT and SIGTERM abort its signal with an Interrupted.
 *
 * No statement of `work` may take longer than `statementTimeoutMs`.
 *
 * @throws FatalError on whatever PostgreSQL refuses; its message never holds the server's.
 */
export async function asOperator<T>(
  config: DatabaseConfig,
  command: string,
  work: (db: Database, signal: AbortSignal) => Promise<T>,
  statementTimeoutMs = LONGEST_MS,
): Promise<T> {
  const stop = new AbortController();
  const onSignal = (signal: string) => stop.abort(new Interrupted(`The process got ${signal}.`));
  for (const signal of SIGNALS) process.once(signal, onSignal);
  try {
    return await withConnection(config, command, async (client) => {
      // Whoever may not do it is told at once, before anything begins.
      await client.query('SELECT FROM public.fhir_backfill LIMIT 0');
      const db = openPool(config, command, statementTimeoutMs);
      try {
        return await work(db, stop.signal);
      } finally {
        await db.destroy();
      }
    });
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

function openPool(config: DatabaseConfig, command: string, statementTimeoutMs: number): Database {
  const client = databaseClient(config);
  const pool = new pg.Pool({
    ...client,
    Client: PostgresClient,
    connectionTimeoutMillis: connectTimeoutMs(client),
    application_name: `fhir-connector ${command}`,
    max: 2,
    statement_timeout: statementTimeoutMs,
    // The server's own limit comes first, and says so; this one is for a server that answers no more.
    query_timeout: statementTimeoutMs + ANSWER_MS,
    keepAlive: true,
  });
  // An idle connection that PostgreSQL ends is no failure: the next query opens another.
  pool.on('error', () => undefined);
  return new Kysely({ dialect: new PostgresDialect({ pool }) });
}
