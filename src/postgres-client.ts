// PostgreSQL's client, but on no connection it waits for ever: one that falls silent is given up.
import type { Socket } from 'node:net';
import pg from 'pg';

const END_MS = 1000;

/** pg gives this error no code. */
const READ_TIMEOUT = 'Query read timeout';

/**
 * With `query_timeout` pg rejects the query and keeps the connection, on which the answer is still awaited: a pool would
 * hand it out again. A half-open connection is noticed by TCP only after a quarter of an hour. So here the connection
 * goes with the query, and ending it politely takes a second at most.
 */
export class PostgresClient extends pg.Client {
  constructor(config?: pg.ClientConfig) {
    super(config);
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

  override end(...callback: []): Promise<void> {
    const deadline = setTimeout(() => this.#destroy(), END_MS).unref();
    this.once('end', () => clearTimeout(deadline));
    // pg's pool hands a callback over.
    return super.end(...callback);
  }

  #destroy(): void {
    (this as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
  }
}
