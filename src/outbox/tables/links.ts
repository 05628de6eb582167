// Links: which FHIR resource a source row became, remembered in fhir_link and cached while the slot is ours.
import { sql } from 'kysely';
import { LRUCache } from 'lru-cache';
import type { Match } from '../../fhir/client/answer.ts';
import type { Sending } from '../../fhir/client/fhir-client.ts';
import type { Token } from '../../fhir/model/token.ts';
import { LINKS_CHANGED } from '../../shard.ts';
import type { Source } from '../delivery/source.ts';
import type { Database } from './database.ts';
import type { Persistently } from './outages.ts';

/** The resource that a row has become. */
export interface Link {
  /** Null when the link has ended: another row has the resource now. */
  readonly fhirId: string | null;
  readonly versionId: string | null;
  readonly lastRevision: number;
  /** A tombstone: the row was deleted; the link itself is never removed. */
  readonly deleted: boolean;
  /** What fhir_link_identifier holds of it, where we have written that ourselves while the slot is ours; otherwise null. */
  readonly identifiers: readonly Token[] | null;
}

/** Known to have no link. (The cache cannot hold null.) */
const NONE = Symbol('no link');

/** Some 8 MB. Links that are not cached are read in one query per batch. */
const CACHED_LINKS = 20_000;

/** A row with the type of the resource that it becomes. */
interface TypedSource extends Source {
  readonly resourceType: string;
}

/** Thrown just before a write by a link that has ended, or whose version is not known any more. */
export class LinkInDoubt extends Error {
  override readonly name = 'LinkInDoubt';
}

/**
 * Only the holder of the slot writes the links of its rows, so what it cached is true as long as it holds the slot, and is
 * forgotten at every new connection. What a connector of another shard may write (the end of a link, LINKS_CHANGED tells
 * it; a form's or reading's, OtherShards.mayShare) is forgotten as well.
 */
export class Links {
  readonly #db: Database;
  readonly #persistently: Persistently;
  readonly #cache = new LRUCache<string, Link | typeof NONE>({ max: CACHED_LINKS });
  /** Which hold of the slot the cache belongs to: what was asked for under an earlier one may be outdated. */
  #hold = 0;
  #doubts: { readonly running: Promise<void> | null; readonly next: Promise<void> | null } = {
    running: null,
    next: null,
  };

  /** Whatever is asked of the database is asked by way of `persistently`, and so through its outages. */
  constructor(db: Database, persistently: Persistently) {
    this.#db = db;
    this.#persistently = persistently;
  }

  /** Undefined when it is not known without asking; null when there is none. */
  peek({ table, sourceId }: Source): Link | null | undefined {
    const cached = this.#cache.get(`${table}/${sourceId}`);
    return cached === NONE ? null : cached;
  }

  remember({ table, sourceId }: Source, link: Link | null): void {
    // A copy of the list is exact in size; one that was pushed to keeps room for a dozen more.
    const compact = link?.identifiers ? { ...link, identifiers: link.identifiers.slice() } : link;
    this.#cache.set(`${table}/${sourceId}`, compact ?? NONE);
  }

  forget({ table, sourceId }: Source): void {
    this.#cache.delete(`${table}/${sourceId}`);
  }

  forgetAll(): void {
    this.#hold += 1;
    this.#cache.clear();
  }

  /**
   * For a write that goes by this link: when it is really sent, after whatever it waited for, LinkInDoubt is thrown if another
   * row may have the resource by now, and in that very version.
   */
  sendingBy(source: Source, { id, versionId }: Match, sending: Sending): Sending {
    const mayBeSent = () => {
      sending.mayBeSent();
      const link = this.peek(source);
      if (link?.fhirId !== id || link.versionId !== versionId) throw new LinkInDoubt();
    };
    return { uncertain: sending.uncertain, traceparent: sending.traceparent, mayBeSent };
  }

  async get(source: Source): Promise<Link | null> {
    while (this.peek(source) === undefined) await this.prefetch([source]);
    return this.peek(source) ?? null;
  }

  /** Asks again, whatever is cached. */
  async reload(source: Source): Promise<Link | null> {
    this.forget(source);
    return this.get(source);
  }

  /** One query for all that are not cached yet. */
  async prefetch(sources: readonly Source[]): Promise<void> {
    const hold = this.#hold;
    const missing = sources.filter((source) => this.peek(source) === undefined);
    const tables = new Set(missing.map(({ table }) => table));
    for (const table of tables) {
      const ids = new Set(missing.filter((source) => source.table === table).map(({ sourceId }) => sourceId));
      const linked = this.#db
        .selectFrom('fhir_link')
        .select(['source_id', 'fhir_id', 'version_id', 'last_revision', 'deleted_at'])
        .where('source_table', '=', table)
        // One parameter for all: the protocol counts parameters in 16 bits.
        .where(sql<boolean>`source_id = ANY (${[...ids]}::bigint[])`);
      const rows = await this.#persistently(() => linked.execute());
      if (hold !== this.#hold) return;
      // Of what was recorded meanwhile the answer knows nothing.
      const unknown = new Set([...ids].filter((sourceId) => this.peek({ table, sourceId }) === undefined));
      for (const sourceId of unknown) this.remember({ table, sourceId }, null);
      for (const row of rows) {
        if (!unknown.has(Number(row.source_id))) continue;
        this.remember(
          { table, sourceId: Number(row.source_id) },
          {
            fhirId: row.fhir_id,
            versionId: row.version_id,
            lastRevision: Number(row.last_revision),
            deleted: row.deleted_at !== null,
            identifiers: null,
          },
        );
      }
    }
  }

  /** The other living source whose resource carries the identifier, primary or not; null when there is none. */
  async livingHolder({ resourceType, table, sourceId }: TypedSource, identifier: Token): Promise<Source | null> {
    const holders = this.#db
      .selectFrom('fhir_link_identifier as i')
      .innerJoin('fhir_link as l', (join) =>
        join.on('l.source_table', '=', table).onRef('l.source_id', '=', 'i.source_id'),
      )
      .select('i.source_id')
      .where('i.resource_type', '=', resourceType)
      .where('i.system', '=', identifier.system)
      .where('i.value', '=', identifier.value)
      .where('i.source_id', '!=', String(sourceId))
      .where('l.deleted_at', 'is', null)
      .where('l.fhir_id', 'is not', null)
      .limit(1);
    const row = await this.#persistently(() => holders.executeTakeFirst());
    return row ? { table, sourceId: Number(row.source_id) } : null;
  }

  /** The other living source that is linked to this very resource; null when there is none. */
  async livingOwner({ resourceType, table, sourceId }: TypedSource, fhirId: string): Promise<Source | null> {
    const owners = this.#db
      .selectFrom('fhir_link')
      .select(['source_table', 'source_id'])
      .where('resource_type', '=', resourceType)
      .where('fhir_id', '=', fhirId)
      .where(({ eb, or }) => or([eb('source_table', '!=', table), eb('source_id', '!=', String(sourceId))]))
      .where('deleted_at', 'is', null);
    const row = await this.#persistently(() => owners.executeTakeFirst());
    return row ? { table: row.source_table, sourceId: Number(row.source_id) } : null;
  }

  /** The identifiers that the source's resource was delivered with, primary or not. */
  async identifiersOf({ resourceType, sourceId }: TypedSource): Promise<Token[]> {
    const identifiers = this.#db
      .selectFrom('fhir_link_identifier')
      .select(['system', 'value'])
      .where('resource_type', '=', resourceType)
      .where('source_id', '=', String(sourceId));
    return await this.#persistently(() => identifiers.execute());
  }

  /** The source's link to this resource ends: its identifiers are free, and its next change is a first contact. */
  async unlink(source: Source, fhirId: string): Promise<void> {
    const link = sql`
      WITH ended AS (
        UPDATE fhir_link SET fhir_id = NULL, version_id = NULL
         WHERE source_table = ${source.table} AND source_id = ${source.sourceId}::bigint AND fhir_id = ${fhirId})
      SELECT pg_notify(${LINKS_CHANGED}, '')`;
    await this.#persistently(() => link.execute(this.#db));
    this.forget(source);
  }

  /**
   * From now on no link's version is known, of whatever type, until it is written again. It outlives us: a loss is noticed once.
   * Many notice it at the same time; but a statement that has begun does not see what was recorded since, so they share the next.
   */
  doubtAll(): Promise<void> {
    const { running, next } = this.#doubts;
    if (next) return next;
    const doubt = (running ?? Promise.resolve()).then(() => {
      this.#doubts = { running: doubt, next: null };
      return this.#doubt();
    });
    this.#doubts = { running, next: doubt };
    return doubt;
  }

  async #doubt(): Promise<void> {
    const known = sql`
      WITH doubted AS (UPDATE fhir_link SET version_id = NULL WHERE version_id IS NOT NULL)
      SELECT pg_notify(${LINKS_CHANGED}, '')`;
    await this.#persistently(() => known.execute(this.#db));
    this.forgetAll();
  }
}
