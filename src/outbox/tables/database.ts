// The database with the connector's tables: a few connections, and statements that are planned again before they are out of date.
import { hash } from 'node:crypto';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { Logger } from 'pino';
import { type ClientConfig, connectTimeoutMs, PostgresClient } from '../../postgres/client.ts';
import { errorCode } from '../../postgres/errors.ts';
import type { Schema } from './schema.ts';

export type Database = Kysely<Schema>;

/** A handful of connections is enough: one records, the others look up. */
const CONNECTIONS = 5;
/** Longer than any of our statements should take; what was asked on a connection that fell silent is asked again. */
const QUERY_TIMEOUT_MS = 30_000;
/** Between two statements of one transaction there are milliseconds; after this PostgreSQL ends it. */
const IDLE_TRANSACTION_MS = 10_000;
/** Of a prepared statement's name: PostgreSQL cuts it at 63 bytes. */
const NAME_LENGTH = 32;

/** A plan serves for this long. */
const PLAN_MS = 1000;

/**
 * Has each statement parsed once a connection, and planned once a second at most: planning takes longer than the rest. A
 * plan that served for longer, made for a small outbox, would go through all of it when it has grown.
 * https://www.postgresql.org/docs/current/sql-prepare.html , https://www.postgresql.org/docs/current/sql-discard.html
 */
class PreparingClient extends PostgresClient {
  #plannedAt = performance.now();

  constructor(config?: pg.ClientConfig) {
    super(config);
    const query = this.query as (...args: unknown[]) => unknown;
    this.query = ((...args: unknown[]) => {
      const [text, values] = args;
      if (typeof text !== 'string' || !Array.isArray(values) || values.length === 0) return query(...args);
      const now = performance.now();
      if (now - this.#plannedAt > PLAN_MS) {
        this.#plannedAt = now;
        // What makes it fail makes the statement behind it fail.
        (query('DISCARD PLANS') as Promise<unknown>).catch(() => undefined);
      }
      return query({ name: hash('sha256', text).slice(0, NAME_LENGTH), text, values });
    }) as typeof this.query;
  }
}

/** `verify` is asked about each new connection: one that it rejects is not used, and whoever wanted it gets the error. */
export function openDatabase(
  config: ClientConfig,
  log: Logger,
  verify: (client: pg.ClientBase) => Promise<void> = async () => {},
): Database {
  const pool = new pg.Pool({
    ...config,
    Client: PreparingClient,
    query_timeout: QUERY_TIMEOUT_MS,
    max: CONNECTIONS,
    application_name: 'fhir-connector records',
    keepAlive: true,
    connectionTimeoutMillis: connectTimeoutMs(config),
    // Whoever is cut off or stopped in a transaction must not keep its rows from the one that takes over.
    idle_in_transaction_session_timeout: IDLE_TRANSACTION_MS,
    // What we look for was written a moment ago and is in memory: each row by its index, never the whole outbox.
    options:
      '-c lock_timeout=5s -c synchronous_commit=on -c random_page_cost=1.1 -c plan_cache_mode=force_generic_plan',
    verify: (client, done) => void verify(client).then(() => done(), done),
  });
  // An idle connection that PostgreSQL ends is no failure: the next query opens another.
  pool.on('error', (error) => log.debug({ code: errorCode(error) }, 'PostgreSQL ended an idle connection.'));
  return new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
}
