// Which server this is: where DB_HOST leads to another one all of a sudden, that one must not be taken for the same.
import { setInterval } from 'node:timers/promises';
import type pg from 'pg';
import { PostgresClient } from '../../postgres/client.ts';
import { type Lsn, parseLsn } from '../../postgres/lsn.ts';
import { onlyRow } from '../../postgres/only-row.ts';

/** A cluster and its timeline: a standby that was promoted goes on under another one. */
export interface Identity {
  readonly systemIdentifier: string;
  readonly timeline: number;
}

/**
 * A server as far as it is known: which one it is, and how far its WAL was seen to go. It never goes back behind that, be it
 * killed, unless files of before are put back; then ids of transactions and of outbox rows are given out a second time.
 */
export class KnownServer {
  readonly identity: Identity;
  #reached: Lsn;
  #retired = false;

  /** `reached`: a position up to which its WAL is flushed. */
  constructor(identity: Identity, reached: Lsn) {
    this.identity = identity;
    this.#reached = reached;
  }

  get reached(): Lsn {
    return this.#reached;
  }

  /** A later look at the same server, or what it sent: a walsender sends nothing that is not flushed. */
  saw(reached: Lsn): void {
    if (reached > this.#reached) this.#reached = reached;
  }

  /**
   * It is another one now, or was put back: nothing may be recorded on it any more of what was on its way. From now on
   * `mustBe` refuses every connection, so whoever verifies connections by it, as the database of a server does, gets none.
   */
  retire(): void {
    this.#retired = true;
  }

  /** Whether `later` is the same server, no earlier than `reached`: what was known of it before `later` was asked. */
  canBe(later: KnownServer, reached = this.#reached): boolean {
    return !this.#retired && this.isSameAs(later) && later.reached >= reached;
  }

  isSameAs({ identity }: KnownServer): boolean {
    return identity.systemIdentifier === this.identity.systemIdentifier && identity.timeline === this.identity.timeline;
  }
}

/** The server that answers is not the one that was expected. */
class AnotherServer extends Error {
  override readonly name = 'AnotherServer';
  readonly code = 'ANOTHER_SERVER';
}

const LOOK_INTERVAL_MS = 10_000;
const LOOK_TIMEOUT_MS = 5_000;

/**
 * Throws AnotherServer unless `client` is connected to this very server, no earlier than it was. It is what IDENTIFY_SYSTEM tells a replication
 * connection, asked on another one; in recovery, where nothing could be recorded anyway, it is PostgreSQL's error.
 * https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CONTROLDATA
 */
export async function mustBe(expected: KnownServer, client: pg.ClientBase): Promise<void> {
  // The stream may tell of more before the answer is here.
  const { reached: before } = expected;
  const result = await client.query<{ system: string; timeline: number; reached: string }>(
    `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,
            ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int AS timeline,
            pg_current_wal_flush_lsn()::text AS reached`,
  );
  const { system, timeline, reached } = onlyRow(result);
  const actual = new KnownServer({ systemIdentifier: system, timeline }, parseLsn(reached));
  if (!expected.canBe(actual, before)) throw new AnotherServer();
}

/**
 * Looks every ten seconds, on a new connection, whether DB_HOST still leads to this server, and throws AnotherServer when
 * it does not. Connections stay where they are when a name is switched: a connector that has nothing to do would hold an
 * abandoned server's slot for as long as that one runs.
 */
export async function watchServer(server: KnownServer, config: pg.ClientConfig, signal: AbortSignal): Promise<void> {
  for await (const _ of setInterval(LOOK_INTERVAL_MS, undefined, { signal })) {
    const client = new PostgresClient({
      ...config,
      application_name: 'fhir-connector look',
      connectionTimeoutMillis: LOOK_TIMEOUT_MS,
      query_timeout: LOOK_TIMEOUT_MS,
    });
    try {
      await client.connect();
      await mustBe(server, client);
    } catch (error) {
      // Nobody there, or a standby: no reason to leave the server that answers us.
      if (error instanceof AnotherServer) throw error;
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}
