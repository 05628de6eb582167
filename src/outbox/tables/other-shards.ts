// What connectors of other shards have still to deliver before something of ours may be sent: their unprocessed rows say it.
import { type RawBuilder, sql } from 'kysely';
import { readIdentifier, sameToken, type Token } from '../../fhir/model/token.ts';
import { filterOf, type Shard } from '../../shard.ts';
import { type Delivery, isFromTable } from '../delivery/delivery.ts';
import { taken } from '../delivery/givers-first.ts';
import { kindOfTable } from '../delivery/kinds.ts';
import type { Source } from '../delivery/source.ts';
import type { Database } from './database.ts';
import type { Link } from './links.ts';
import type { Persistently } from './outages.ts';
import { PATIENT_TABLES } from './patient-tables.ts';

interface PreviousIdentifier {
  system: string | null;
  value: string | null;
}

/**
 * All of one patient is in one shard, so two things alone reach across: an identifier that a patient of another shard gives up, and a
 * form or reading that goes from one patient to another. The taker had to wait for the giver's commit, so what is waited for was
 * committed before, and nobody waits in a circle.
 */
export class OtherShards {
  readonly #db: Database;
  readonly #persistently: Persistently;
  readonly #shard: Shard;
  readonly #notOurs: RawBuilder<boolean>;

  constructor(db: Database, persistently: Persistently, shard: Shard) {
    this.#db = db;
    this.#persistently = persistently;
    this.#shard = shard;
    this.#notOurs = sql.raw(`NOT (${filterOf(shard, 'o.patient_id')})`);
  }

  get exist(): boolean {
    return this.#shard.count > 1;
  }

  /** May another connector have written the row's resource? Then nothing that is remembered of it counts. */
  mayShare({ table }: Pick<Source, 'table'>): boolean {
    return this.exist && kindOfTable(table)?.hasIdentifiers === false;
  }

  /**
   * Whether a patient of another shard must first be delivered without an identifier that this delivery takes, or by which its
   * resource is found: until then the server has it at that one's resource, or will have it there for a moment.
   */
  async mustReleaseFirst(delivery: Delivery, link: Pick<Link, 'fhirId' | 'deleted'> | null): Promise<boolean> {
    const linked = link?.fhirId != null && !link.deleted;
    const identifiers = [...taken(delivery)];
    const found = kindOfTable(delivery.table)?.hasIdentifiers ? delivery.mapped?.identifier : undefined;
    if (!linked && found) identifiers.push(found);
    if (identifiers.length === 0) return false;
    const { txid } = delivery;
    const values = identifiers.map(({ value }) => JSON.stringify([{ value }]));
    // We may hear of a commit before others see it, and what it wrote elsewhere with it.
    const givers = sql<{ seen: boolean; previous: PreviousIdentifier[][] }>`
      SELECT ${isFromTable(delivery)}::boolean OR pg_visible_in_snapshot(${String(txid)}::xid8, pg_current_snapshot()) AS seen,
             (SELECT coalesce(jsonb_agg(o.previous_identifiers), '[]') FROM fhir_outbox o
               WHERE NOT o.processed AND o.previous_identifiers <> '[]' AND o.previous_identifiers @> ANY (${values}::jsonb[])
                 AND ${this.#notOurs} AND ${goesBefore(delivery, linked)}) AS previous`;
    const { rows } = await this.#persistently(() => givers.execute(this.#db));
    return rows.some(
      ({ seen, previous }) =>
        !seen || previous.flat().some((given) => identifiers.some((token) => isToken(token, given))),
    );
  }

  /** Whether another connector has still to deliver an earlier change of this row. */
  async hasEarlier({ table, sourceId }: Source, to: Delivery): Promise<boolean> {
    if (!this.exist) return false;
    const owed = sql`
      SELECT FROM fhir_outbox o
       WHERE NOT o.processed AND o.table_name NOT IN ${PATIENT_TABLES}
         AND o.table_name = ${table} AND o.record_id = ${sourceId}::int AND o.id < ${lastOf(to)} AND ${this.#notOurs} LIMIT 1`;
    const { rows } = await this.#persistently(() => owed.execute(this.#db));
    return rows.length > 0;
  }
}

/**
 * The condition on an outbox row `o`, by which a patient of another shard (the giver) gives an identifier up: must it be delivered
 * before this delivery, which takes the identifier?
 *
 * Of another transaction: where the giver's last row in it is before our last one. The taker had to wait for the giver's commit
 * before it got its rows. (Where identifiers are not unique it had not to: then of two transactions that were open at once one
 * waits for the other, and never both.)
 *
 * Of the same transaction: where a row of the giver from an earlier one is still to be delivered, perhaps its first contact.
 * Otherwise a linked taker goes by id, and waits for nobody; one that is not linked waits for givers whose rows are before its
 * own, and for givers that are linked.
 */
function goesBefore(delivery: Delivery, linked: boolean): RawBuilder<boolean> {
  const txid = sql`${delivery.txid}::bigint`;
  const before = sql<boolean>`((o.txid <> ${txid} AND o.id < ${lastOf(delivery)} AND NOT EXISTS (
      SELECT FROM fhir_outbox n WHERE NOT n.processed AND n.id > ${lastOf(delivery)} AND n.txid = o.txid AND n.patient_id = o.patient_id
         AND n.table_name IN ${PATIENT_TABLES}))
    OR (o.txid = ${txid} AND EXISTS (
      SELECT FROM fhir_outbox b WHERE NOT b.processed AND b.id < o.id AND b.txid <> o.txid AND b.patient_id = o.patient_id
         AND b.table_name IN ${PATIENT_TABLES})))`;
  if (linked) return before;
  // (Of EXISTS PostgreSQL may make one pass over all links.)
  return sql<boolean>`(${before} OR (o.txid = ${txid} AND (
    o.id < ${Math.min(...delivery.outboxIds)}::bigint
    OR (SELECT true FROM fhir_link l WHERE l.source_table = 'patient' AND l.source_id = o.patient_id AND l.fhir_id IS NOT NULL
           AND l.deleted_at IS NULL LIMIT 1))))`;
}

function lastOf({ outboxIds }: Delivery): RawBuilder<unknown> {
  return sql`${Math.max(...outboxIds)}::bigint`;
}

function isToken(token: Token, { system, value }: PreviousIdentifier): boolean {
  const reading = readIdentifier(system, value);
  return reading.kind === 'token' && sameToken(reading.token, token);
}
