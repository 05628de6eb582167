// Where a delivery stands according to the database: still to be done, recorded already, or overtaken by a newer state.
import DataLoader from 'dataloader';
import { sql } from 'kysely';
import type { Database } from './database.ts';
import type { Delivery } from './delivery.ts';
import type { Persistently } from './persistence.ts';

export type Standing = 'pending' | 'recorded' | 'superseded';

interface StandingRow {
  no: number;
  /** Otherwise it is overtaken. */
  recorded: boolean;
}

/** Looks up many deliveries in one query; asked at the head of their lanes only, where nobody can overtake any more. */
export function standingLookup(db: Database, persistently: Persistently): (delivery: Delivery) => Promise<Standing> {
  const loader = new DataLoader<Delivery, Standing>(
    async (deliveries) => {
      const asked = deliveries.map(({ eventKey, outboxIds, table, sourceId, revision }, no) => ({
        no,
        eventKey,
        outboxIds,
        table,
        sourceId,
        revision,
      }));
      // Each by its index (of EXISTS PostgreSQL may make one pass over all that was ever recorded); rows only of what is not
      // pending, for nearly all is.
      const standings = sql<StandingRow>`
        SELECT d.no, coalesce(event.found OR outbox.processed, false) AS recorded
          FROM jsonb_to_recordset(${JSON.stringify(asked)}::jsonb)
            AS d(no int, "eventKey" text, "outboxIds" bigint[], "table" text, "sourceId" bigint, revision bigint)
          LEFT JOIN LATERAL (SELECT true AS found FROM fhir_processed_event e WHERE e.event_key = d."eventKey" LIMIT 1) AS event ON true
          LEFT JOIN LATERAL (SELECT bool_and(o.processed) AS processed FROM fhir_outbox o WHERE o.id = ANY (d."outboxIds")) AS outbox ON true
          LEFT JOIN LATERAL (SELECT true AS newer FROM fhir_link l WHERE l.source_table = d."table"
                                AND l.source_id = d."sourceId" AND l.last_revision >= d.revision LIMIT 1) AS link ON true
         WHERE event.found OR outbox.processed OR link.newer`;
      const { rows } = await persistently(() => standings.execute(db));
      const byNo = new Map(rows.map(({ no, recorded }) => [no, recorded ? 'recorded' : 'superseded'] as const));
      return deliveries.map((_, no) => byNo.get(no) ?? 'pending');
    },
    { cache: false, maxBatchSize: 500 },
  );
  return (delivery) => loader.load(delivery);
}
