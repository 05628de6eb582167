// The connection beside the replication connection: it says what the stream does not, and keeps the lock of the tenure.
import type pg from 'pg';
import { PostgresClient } from '../../postgres/client.ts';
import { WAL_SENDER_TIMEOUT_MS } from '../stream/connection.ts';

/** Not connected yet. Whoever asks while another asks waits for that one's answer: pg wants one query at a time. */
export function controlConnection(config: pg.ClientConfig): pg.Client {
  const control = new PostgresClient({
    ...config,
    application_name: 'fhir-connector control',
    keepAlive: true,
    query_timeout: WAL_SENDER_TIMEOUT_MS,
    // A half-open connection must not keep the set-up lock for the two hours that are TCP's default.
    options: '-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c lock_timeout=10s',
  });
  const query = control.query.bind(control) as (...args: unknown[]) => Promise<unknown>;
  let last: Promise<unknown> = Promise.resolve();
  control.query = ((...args: unknown[]) => {
    const result = last.then(() => query(...args));
    last = result.catch(() => undefined);
    return result;
  }) as typeof control.query;
  return control;
}
