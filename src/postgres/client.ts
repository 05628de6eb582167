// PostgreSQL's client, but on no connection it waits for ever: one that falls silent is given up. Of several hosts it takes the right one,
// and certificates as they are now.
import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { type Address, HOST_TIMEOUT_MS, type Hosts, type Session } from './hosts.ts';
import { type Connection, Login } from './login.ts';
import { onlyRow } from './only-row.ts';

/**
 * pg's, with the hosts to choose from; `host` and `port` are those of the first one. `tls` is asked for each connection
 * and goes before `ssl`.
 */
export interface ClientConfig extends pg.ClientConfig {
  readonly hosts?: Hosts;
  readonly tls?: () => ConnectionOptions;
}

/** PostgreSQL 15, by server_version_num. */
export const OLDEST_VERSION = 150_000;

const END_MS = 1000;

/** pg gives this error no code. */
const READ_TIMEOUT = 'Query read timeout';

/**
 * With `query_timeout` pg rejects the query and keeps the connection, on which the answer is still awaited: a pool would
 * hand it out again. A half-open connection is noticed by TCP only after a quarter of an hour. So here the connection
 * goes with the query, and ending it politely takes a second at most.
 */
export class PostgresClient extends pg.Client {
  readonly #config: ClientConfig;
  #ended = false;

  constructor(config: ClientConfig = {}) {
    // pg's pool hides the password from whoever copies its options.
    const copy = { ...config, password: config.password, ...(config.tls && { ssl: config.tls() }) };
    super(config.hosts ? { ...copy, connectionTimeoutMillis: hostTimeoutMs(config) } : copy);
    this.#config = copy;
    // A connection that is lost between two queries fails the next one. Without a listener it would end the process: a
    // pool listens to idle clients only.
    this.on('error', () => undefined);
    const query = this.query.bind(this) as (...args: unknown[]) => unknown;
    this.query = ((...args: unknown[]) => {
      const result = query(...args);
      if (result instanceof Promise) result.catch((error: Error) => error.message === READ_TIMEOUT && this.#destroy());
      return result;
    }) as typeof this.query;
  }

  override connect(...callback: []): Promise<pg.Client> {
    const { hosts } = this.#config;
    const connected = hosts
      ? hosts
          .find((address) => this.#ask(address))
          .then(({ host, port }) => {
            if (this.#ended) throw new Error('The client was ended before it was connected.');
            // pg reads them when it connects: the host for the name in the certificate, too.
            Object.assign(this, { host, port });
            return this.#login();
          })
      : this.#login();
    const [done] = callback as unknown as [((error?: Error) => void)?];
    if (done) connected.then(() => done(), done);
    return connected;
  }

  /** pg leaves the connection open where it gives the login up itself: PostgreSQL would wait for the rest of it for a minute. */
  async #login(): Promise<pg.Client> {
    const login = new Login(this.#connection);
    try {
      return await (super.connect() as unknown as Promise<pg.Client>);
    } catch (error) {
      this.#destroy();
      const code = error instanceof Error ? login.codeFor(error, this.password) : null;
      throw code === null ? error : Object.assign(error as Error, { code });
    }
  }

  /** On a connection of its own. */
  async #ask({ host, port }: Address): Promise<Session> {
    const timeout = hostTimeoutMs(this.#config);
    const { hosts: _, options: __, ...config } = this.#config;
    const client = new PostgresClient({
      ...config,
      // An ordinary session, also for a client that replicates: a question takes none of max_wal_senders. (pg's types do not
      // have the property: so it is spread.)
      ...{ replication: undefined },
      host,
      port,
      connectionTimeoutMillis: timeout,
      query_timeout: timeout,
    });
    try {
      await client.connect();
      return onlyRow(
        await client.query<Session>(
          `SELECT pg_is_in_recovery() AS "inRecovery", current_setting('transaction_read_only')::bool AS "readOnly"`,
        ),
      );
    } finally {
      void client.end().catch(() => undefined);
    }
  }

  override end(...callback: []): Promise<void> {
    this.#ended = true;
    const deadline = setTimeout(() => this.#destroy(), END_MS).unref();
    this.once('end', () => clearTimeout(deadline));
    // pg's pool hands a callback over.
    return super.end(...callback);
  }

  get #connection(): Connection {
    return (this as unknown as { connection: Connection }).connection;
  }

  #destroy(): void {
    this.#connection.stream.destroy();
  }
}

function hostTimeoutMs({ connectionTimeoutMillis }: ClientConfig): number {
  return Math.min(connectionTimeoutMillis || HOST_TIMEOUT_MS, HOST_TIMEOUT_MS);
}

/** Milliseconds that a pool must wait for a connection: pg's pool counts all hosts that the client asks. */
export function connectTimeoutMs({ hosts, connectionTimeoutMillis = HOST_TIMEOUT_MS }: ClientConfig): number {
  return hosts?.timeoutMs ?? connectionTimeoutMillis;
}
