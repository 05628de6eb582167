// Reading deliveries back from fhir_outbox by row id: for spilled transactions, for catch-up, and for parked deliveries.
import DataLoader from 'dataloader';
import { sql } from 'kysely';
import type { MappedResource } from '../../fhir/mapping/mapped-resource.ts';
import { pause } from '../../pause.ts';
import { type Delivery, isFromTable, type MapState } from '../delivery/delivery.ts';
import { type ParsedEvent, parseEvent } from '../delivery/event.ts';
import { kindOfTable } from '../delivery/kinds.ts';
import type { Database } from './database.ts';
import type { Persistently } from './outages.ts';

const INVISIBLE_RETRY_MS = 5;
/** Stands for a payload that is not read yet: parseEvent only tells an empty one, of a row that is gone, from all others. */
const SOME_PAYLOAD = sql.lit('{"parked":true}');

export class OutboxReader {
  readonly #db: Database;
  readonly #map: MapState;
  readonly #persistently: Persistently;
  readonly #signal: AbortSignal;
  readonly #payloads: DataLoader<number, Readonly<Record<string, unknown>> | null>;

  constructor(db: Database, map: MapState, persistently: Persistently, signal: AbortSignal) {
    this.#db = db;
    this.#map = map;
    this.#persistently = persistently;
    this.#signal = signal;
    this.#payloads = new DataLoader((ids) => this.#loadPayloads(ids), { cache: false, maxBatchSize: 500 });
  }

  /**
   * The rows without their payloads (which only the deciding row of each resource is asked for), in id order. `txid`: the
   * transaction was heard of through the slot, so its rows may not be visible here yet and are waited for.
   */
  async rows(ids: readonly number[], txid: number | null): Promise<ParsedEvent[]> {
    for (let visible = txid === null; ; ) {
      const { rows } = await this.#persistently(() =>
        sql<Record<string, unknown> & { bytes: number }>`
          SELECT id, txid, table_name, record_id, operation, patient_id, patient_revision, previous_identifiers, attempts, traceparent,
                 CASE WHEN payload_json = '{}' THEN '{}'::jsonb ELSE ${SOME_PAYLOAD} END AS payload_json,
                 -- What is small as it is stored (perhaps compressed, perhaps elsewhere) need not be read to know its size.
                 CASE WHEN pg_column_size(payload_json) < 1500 THEN 0 ELSE octet_length(payload_json::text) END AS bytes
            FROM fhir_outbox WHERE id = ANY (${ids}::bigint[]) ORDER BY id`.execute(this.#db),
      );
      if (rows.length === ids.length || visible) return rows.map((row) => parseEvent(row, row.bytes));
      visible = await this.#becomesVisible(txid);
    }
  }

  /** What a parked delivery is to send; a reason when its row is gone. */
  async reload(delivery: Delivery): Promise<MappedResource> {
    const kind = kindOfTable(delivery.table);
    // What was read from the table has been visible before; only of the slot can we have heard too early.
    for (let visible = isFromTable(delivery); ; ) {
      const payload = await this.#payloads.load(delivery.payloadId);
      const mapped = payload && kind ? this.#map(kind, delivery.operation, payload) : null;
      if (mapped) return mapped;
      if (visible) return { ok: false, reason: 'The outbox row was removed before it was sent.' };
      visible = await this.#becomesVisible(delivery.txid);
    }
  }

  /** Asked after rows were missed. True says that the transaction is visible by now: read once more, then they are gone. */
  async #becomesVisible(txid: number | null): Promise<boolean> {
    if (txid === null || (await this.#isVisible(txid))) return true;
    await pause(INVISIBLE_RETRY_MS, this.#signal);
    return false;
  }

  async #isVisible(txid: number): Promise<boolean> {
    const { rows } = await this.#persistently(() =>
      sql<{
        visible: boolean;
      }>`SELECT pg_visible_in_snapshot(${String(txid)}::xid8, pg_current_snapshot()) AS visible`.execute(this.#db),
    );
    return rows[0]?.visible === true;
  }

  async #loadPayloads(ids: readonly number[]) {
    const payloads = sql<{ id: string; payload_json: Record<string, unknown> }>`
      SELECT id, payload_json FROM fhir_outbox WHERE id = ANY (${[...ids]}::bigint[])`;
    const { rows } = await this.#persistently(() => payloads.execute(this.#db));
    const byId = new Map(rows.map((row) => [Number(row.id), row.payload_json]));
    return ids.map((id) => byId.get(id) ?? null);
  }
}
