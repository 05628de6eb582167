// Where a delivery stands according to the database: still to be done, recorded already, or overtaken by a newer state.
import DataLoader from 'dataloader';
import { sql } from 'kysely';
import type { Database } from './database.ts';
import type { Delivery } from './delivery.ts';
import type { Persistently } from './persistence.ts';

export type Standing = 'pending' | 'recorded' | 'superseded';

interface StandingRow {
  no: number;
  recorded: boolean;
  superseded: boolean;
}

/** Looks up many deliveries in one query; asked at the head of their lanes only, where nobody can overtake any more. */
export function standingLookup(db: Database, persistently: Persistently): (delivery: Delivery) => Promise<Standing> {
  const loader = new DataLoader<Delivery, Standing>(
    async (deliveries) => {
      const asked = deliveries.map(({ eventKey, outboxIds, resourceType, sourceId, revision }, no) => ({
        no,
        eventKey,
        outboxIds,
        resourceType,
        sourceId,
        revision,
      }));
      const standings = sql<StandingRow>`
        SELECT d.no,
               EXISTS (SELECT FROM fhir_processed_event e WHERE e.event_key = d."eventKey")
               OR coalesce((SELECT bool_and(o.processed) FROM fhir_outbox o WHERE o.id = ANY (d."outboxIds")), false) AS recorded,
               EXISTS (SELECT FROM fhir_link l WHERE l.resource_type = d."resourceType" AND l.source_id = d."sourceId"
                          AND l.last_revision >= d.revision) AS superseded
          FROM jsonb_to_recordset(${JSON.stringify(asked)}::jsonb)
            AS d(no int, "eventKey" text, "outboxIds" bigint[], "resourceType" text, "sourceId" bigint, revision bigint)`;
      const { rows } = await persistently(() => standings.execute(db));
      const byNo = new Map(rows.map((row) => [row.no, row]));
      return deliveries.map((_, no) => {
        const row = byNo.get(no);
        if (row?.recorded) return 'recorded';
        return row?.superseded ? 'superseded' : 'pending';
      });
    },
    { cache: false, maxBatchSize: 500 },
  );
  return (delivery) => loader.load(delivery);
}
