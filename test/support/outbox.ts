// Whether all events in the outbox are finished.
import { expect, vi } from 'vitest';
import type { DatabaseTarget } from './connector.ts';
import type { TestDatabase } from './database.ts';
import { PATIENCE } from './patience.ts';
import { ask } from './with-client.ts';

/** Waits until every event in the outbox is finished. */
export async function allProcessed({ pool }: TestDatabase): Promise<void> {
  const unprocessed = async () =>
    (await pool.query<{ n: number }>('SELECT count(*)::int AS n FROM fhir_outbox WHERE NOT processed')).rows[0]?.n;
  await vi.waitFor(async () => expect(await unprocessed()).toBe(0), PATIENCE);
}

export async function unprocessed(database: DatabaseTarget): Promise<number | undefined> {
  const rows = await ask<{ n: number }>(database, 'SELECT count(*)::int AS n FROM fhir_outbox WHERE NOT processed');
  return rows[0]?.n;
}
