// Where a delivery stands according to the database: still to be done, recorded already, overtaken by a newer state, or not its turn yet.
import DataLoader from 'dataloader';
import { type RawBuilder, sql } from 'kysely';
import { filterOf, type Shard } from '../../shard.ts';
import { type Delivery, isFromTable } from '../delivery/delivery.ts';
import type { Database } from './database.ts';
import type { Persistently } from './outages.ts';
import { PATIENT_TABLES } from './patient-tables.ts';

/** `awaits-other-shard`: a connector of another shard has still to deliver an older state of the same form or reading, or that cannot be seen yet. */
export type Standing = 'pending' | 'recorded' | 'superseded' | 'awaits-other-shard';

interface StandingRow {
  no: number;
  standing: Exclude<Standing, 'pending'>;
}

/** Looks up many deliveries in one query; asked at the head of their lanes only, where nobody can overtake any more. */
export function standingLookup(
  db: Database,
  persistently: Persistently,
  shard: Shard,
): (delivery: Delivery) => Promise<Standing> {
  const { joins, superseded, awaits } = shard.count === 1 ? ALONE : amongOthers(shard);
  const loader = new DataLoader<Delivery, Standing>(
    async (deliveries) => {
      const asked = deliveries.map((delivery, no) => {
        const { eventKey, outboxIds, table, sourceId, revision, txid } = delivery;
        return { no, eventKey, outboxIds, table, sourceId, revision, txid, streamed: !isFromTable(delivery) };
      });
      // Each by its index (of EXISTS PostgreSQL may make one pass over all that was ever recorded); rows only of what is not
      // pending, for nearly all is.
      const standings = sql<StandingRow>`
        SELECT d.no,
               CASE WHEN coalesce(outbox.processed, event.found) THEN 'recorded'
                    -- The event is recorded, but not with these rows: somebody wrote rows with its revision once more, by hand.
                    WHEN event.found OR link.newer OR ${superseded} THEN 'superseded' ELSE 'awaits-other-shard' END AS standing
          FROM jsonb_to_recordset(${JSON.stringify(asked)}::jsonb)
            AS d(no int, "eventKey" text, "outboxIds" bigint[], "table" text, "sourceId" bigint, revision bigint, txid bigint, streamed boolean)
          LEFT JOIN LATERAL (SELECT true AS found FROM fhir_processed_event e WHERE e.event_key = d."eventKey" LIMIT 1) AS event ON true
          LEFT JOIN LATERAL (SELECT bool_and(o.processed) AS processed FROM fhir_outbox o WHERE o.id = ANY (d."outboxIds")) AS outbox ON true
          LEFT JOIN LATERAL (SELECT true AS newer FROM fhir_link l WHERE l.source_table = d."table"
                                AND l.source_id = d."sourceId" AND l.last_revision >= d.revision LIMIT 1) AS link ON true
          ${joins}
         WHERE event.found OR outbox.processed OR link.newer OR ${superseded} OR ${awaits}`;
      const { rows } = await persistently(() => standings.execute(db));
      const byNo = new Map(rows.map(({ no, standing }) => [no, standing]));
      return deliveries.map((_, no) => byNo.get(no) ?? 'pending');
    },
    { cache: false, maxBatchSize: 500 },
  );
  return (delivery) => loader.load(delivery);
}

/** What several shards add to the look-up: further joins to `d`, and the conditions on them. */
interface Across {
  readonly joins: RawBuilder<unknown>;
  readonly superseded: RawBuilder<boolean>;
  readonly awaits: RawBuilder<boolean>;
}

const ALONE: Across = { joins: sql``, superseded: sql`false`, awaits: sql`false` };

/** For a form or reading that goes to a patient of another shard. Of one transaction only its last state is sent, by whichever connector has that. */
function amongOthers(shard: Shard): Across {
  const elsewhere = (condition: string) => sql`
    LATERAL (SELECT true AS found FROM fhir_outbox o
              WHERE NOT o.processed AND o.table_name NOT IN ${PATIENT_TABLES}
                AND o.table_name = d."table" AND o.record_id = d."sourceId" AND ${sql.raw(condition)}
                AND NOT (${sql.raw(filterOf(shard, 'o.patient_id'))}) LIMIT 1)`;
  return {
    joins: sql`
      LEFT JOIN ${elsewhere('o.txid = d.txid AND o.patient_revision > d.revision')} AS later ON true
      LEFT JOIN LATERAL (SELECT true AS found FROM fhir_dlq q
                          WHERE q.resolved_at IS NULL AND q.source_table = d."table" AND q.source_id = d."sourceId"
                            AND d."table" <> 'patient' AND q.txid = d.txid AND q.patient_revision > d.revision LIMIT 1) AS refused ON true
      LEFT JOIN ${elsewhere('o.txid <> d.txid AND o.patient_revision < d.revision')} AS earlier ON true`,
    superseded: sql`(later.found OR refused.found)`,
    // We may hear of a commit before others see it, and what it wrote elsewhere with it.
    awaits: sql`(earlier.found OR NOT (
      NOT d.streamed OR d."table" = 'patient' OR pg_visible_in_snapshot(d.txid::text::xid8, pg_current_snapshot())))`,
  };
}
