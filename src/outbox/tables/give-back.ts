// Giving a resource back to its row, after another row's state went there because somebody gave it that one's identifier.
import { sql } from 'kysely';
import type { Logger } from 'pino';
import { type Delivery, identifiersOf } from '../delivery/delivery.ts';
import type { Source } from '../delivery/source.ts';
import type { Database } from './database.ts';

/**
 * Emits the owner's current state, and remembers that its resource carries the delivery's identifiers now: until that
 * state is delivered nobody else is sent there by them, and it goes by id whatever FHIR_UPDATE says.
 */
export async function giveBack(db: Database, delivery: Delivery, owner: Source, log: Logger): Promise<void> {
  const { resourceType, eventKey, txid } = delivery;
  const identifiers = JSON.stringify(identifiersOf(delivery) ?? []);
  await db.transaction().execute(async (transaction) => {
    await sql`
      INSERT INTO fhir_link_identifier (resource_type, system, value, source_id)
      SELECT ${resourceType}, t.system, t.value, ${owner.sourceId}::bigint
        FROM jsonb_to_recordset(${identifiers}::jsonb) AS t(system text, value text)
      ON CONFLICT DO NOTHING`.execute(transaction);
    await sql`SELECT public.fhir_emit(${owner.table}, ARRAY[${owner.sourceId}::int])`.execute(transaction);
  });
  log.error(
    { eventKey, txid, owner },
    'Somebody else gave the identifier to the resource of another row on the FHIR server, and the write went there; sending the state of that row again.',
  );
}
