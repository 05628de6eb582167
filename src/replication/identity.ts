// Which server this is: where DB_HOST leads to another one all of a sudden, that one must not be taken for the same.
import { setInterval } from 'node:timers/promises';
import type pg from 'pg';
import { PostgresClient } from '../postgres-client.ts';

/** A cluster and its timeline: a standby that was promoted goes on under another one. */
export interface Identity {
  readonly systemIdentifier: string;
  readonly timeline: number;
}

/** The server that answers is not the one that was expected. */
class AnotherServer extends Error {
  override readonly name = 'AnotherServer';
  readonly code = 'ANOTHER_SERVER';
}

const LOOK_INTERVAL_MS = 10_000;
const LOOK_TIMEOUT_MS = 5_000;

export function sameServer(a: Identity, b: Identity): boolean {
  return a.systemIdentifier === b.systemIdentifier && a.timeline === b.timeline;
}

/**
 * Throws AnotherServer unless `client` is connected to this very server. It is what IDENTIFY_SYSTEM tells a replication
 * connection, asked on another one; in recovery, where nothing could be recorded anyway, it is PostgreSQL's error.
 * https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CONTROLDATA
 */
export async function mustBe(expected: Identity, client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ system: string; timeline: number }>(
    `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,
            ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int AS timeline`,
  );
  const actual = { systemIdentifier: rows[0]?.system ?? '', timeline: rows[0]?.timeline ?? 0 };
  if (!sameServer(expected, actual)) throw new AnotherServer();
}

/**
 * Looks every ten seconds, on a new connection, whether DB_HOST still leads to this server, and throws AnotherServer when
 * it does not. Connections stay where they are when a name is switched: a connector that has nothing to do would hold an
 * abandoned server's slot for as long as that one runs.
 */
export async function watchServer(identity: Identity, config: pg.ClientConfig, signal: AbortSignal): Promise<void> {
  for await (const _ of setInterval(LOOK_INTERVAL_MS, undefined, { signal })) {
    const client = new PostgresClient({
      ...config,
      application_name: 'fhir-connector look',
      connectionTimeoutMillis: LOOK_TIMEOUT_MS,
      query_timeout: LOOK_TIMEOUT_MS,
    });
    try {
      await client.connect();
      await mustBe(identity, client);
    } catch (error) {
      // Nobody there, or a standby: no reason to leave the server that answers us.
      if (error instanceof AnotherServer) throw error;
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}
