// Which tables' changes are written to the outbox, as the database has it: `migrate` makes the triggers.
import { sql } from 'kysely';
import type { Logger } from 'pino';
import { errorCode } from '../../postgres/errors.ts';
import { KINDS, kindsOfTypes, type ResourceKind } from '../delivery/kinds.ts';
import type { Database } from '../tables/database.ts';

/** The kinds whose changes are sent, each behind those that it refers to. */
export async function watchedKinds(db: Database): Promise<readonly ResourceKind[]> {
  const { rows } = await sql<{ name: string }>`SELECT table_name AS name FROM public.fhir_source WHERE watched`.execute(
    db,
  );
  const watched = new Set(rows.map(({ name }) => name));
  return KINDS.filter(({ table }) => watched.has(table));
}

/** What FHIR_RESOURCES names and no trigger writes; null where there is nothing of the kind. */
export function unwatchedSentence(types: readonly string[], watched: readonly ResourceKind[]): string | null {
  const lacking = kindsOfTypes(types).filter((kind) => !watched.includes(kind));
  if (lacking.length === 0) return null;
  return `FHIR_RESOURCES names ${[...new Set(lacking.map(({ type }) => type))].join(', ')}, but changes of ${lacking.map(({ table }) => table).join(', ')} are not written to the outbox: run migrate with the same FHIR_RESOURCES, then backfill.`;
}

/** Never rejects. */
export async function warnOfUnwatched(db: Database, types: readonly string[], log: Logger): Promise<void> {
  try {
    const sentence = unwatchedSentence(types, await watchedKinds(db));
    if (sentence !== null) log.warn(sentence);
  } catch (error) {
    log.debug({ code: errorCode(error) }, 'It could not be looked at which tables are watched.');
  }
}
