// A connection to PostgreSQL for one piece of work: one that stays open would not survive what happens to the server.
import pg from 'pg';
import type { DatabaseTarget } from './connector.ts';

/** It is ended when `work` is done, or failed. */
export async function withClient<T>(config: pg.ClientConfig, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(config);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export async function run(database: DatabaseTarget, sql: string): Promise<void> {
  await ask(database, sql);
}

export async function ask<T extends object>(database: DatabaseTarget, sql: string, values?: unknown[]): Promise<T[]> {
  return withClient(database.config, async (client) => (await client.query<T>(sql, values)).rows);
}
