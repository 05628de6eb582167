// Whether all events in the outbox are finished: delivered, superseded, or dead letters.
import { expect, vi } from 'vitest';
import type { DatabaseTarget } from './connector.ts';
import type { TestDatabase } from './database.ts';
import { PATIENCE } from './patience.ts';
import { ask } from './with-client.ts';

const UNPROCESSED = 'SELECT count(*)::int AS n FROM fhir_outbox WHERE NOT processed';

/** By the database's pool where it has one, else by a connection for this question only. */
export async function unprocessed(database: DatabaseTarget | Pick<TestDatabase, 'pool'>): Promise<number | undefined> {
  const rows =
    'pool' in database
      ? (await database.pool.query<{ n: number }>(UNPROCESSED)).rows
      : await ask<{ n: number }>(database, UNPROCESSED);
  return rows[0]?.n;
}

export async function allProcessed(database: Parameters<typeof unprocessed>[0]): Promise<void> {
  await vi.waitFor(async () => expect(await unprocessed(database)).toBe(0), PATIENCE);
}
