// The rows of one transaction while it arrives: whole rows as long as they are few, only ids beyond that.
import type { Row } from '../replication/messages.ts';

/** From here on the outbox itself is the spill file: it holds every payload under its id. */
const SPILL_BYTES = 8 * 1024 * 1024;

export class TransactionRows {
  #rows: KeptRow[] = [];
  #bytes = 0;
  #txid: number | null = null;
  #spilled: Spilled | null = null;

  add(row: Row, bytes: number): void {
    this.#bytes += bytes;
    this.#txid ??= Number(row.txid);
    if (this.#spilled) {
      spill(row, this.#spilled);
      return;
    }
    this.#rows.push({ row, bytes });
    if (this.#bytes > SPILL_BYTES) {
      const spilled: Spilled = { ids: [], patientIds: [], inserts: [] };
      for (const each of this.#rows) spill(each.row, spilled);
      this.#spilled = spilled;
      this.#rows = [];
    }
  }

  /** The rows, or null when only their ids were kept. */
  get rows(): readonly KeptRow[] | null {
    return this.#spilled ? null : this.#rows;
  }

  /** The 64-bit id that every row carries; null before the first row. */
  get txid(): number | null {
    return this.#txid;
  }

  /**
   * The ids of the spilled rows in chunks of about `size`, a patient's rows never in two chunks, each patient's in their
   * order. New patients come last: they may take identifiers that others give up.
   */
  *chunksOfPatients(size: number): Generator<number[]> {
    const { ids, patientIds, inserts } = this.#spilled ?? { ids: [], patientIds: [], inserts: [] };
    const order = Uint32Array.from(ids.keys()).sort((a, b) => (patientIds[a] ?? 0) - (patientIds[b] ?? 0) || a - b);
    let chunk: number[] = [];
    for (const isNew of [false, true]) {
      for (let from = 0, to = 0; from < order.length; from = to) {
        const first = order[from] ?? 0;
        while (to < order.length && patientIds[order[to] ?? 0] === patientIds[first]) to += 1;
        // By its first row: did the patient come into being in this transaction?
        if ((inserts[first] === 1) !== isNew) continue;
        if (chunk.length >= size) {
          yield chunk;
          chunk = [];
        }
        for (const index of order.subarray(from, to)) chunk.push(ids[index] ?? 0);
      }
    }
    if (chunk.length > 0) yield chunk;
  }
}

export interface KeptRow {
  readonly row: Row;
  /** As long as it was in the stream. */
  readonly bytes: number;
}

/** All that is kept of rows whose payloads stay in the outbox: three numbers of each. */
interface Spilled {
  readonly ids: number[];
  readonly patientIds: number[];
  /** 1 where the row says that its patient was inserted. */
  readonly inserts: number[];
}

function spill(row: Row, { ids, patientIds, inserts }: Spilled): void {
  ids.push(Number(row.id));
  patientIds.push(Number(row.patient_id ?? 0));
  inserts.push(row.table_name === 'patient' && row.operation === 'I' ? 1 : 0);
}
