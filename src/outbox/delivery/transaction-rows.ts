// The rows of one transaction while it arrives: whole rows as long as they are few, only ids beyond that.
import type { Row } from '../../replication/stream/messages.ts';
import { SpilledRows } from './spilled-rows.ts';

/** From here on the outbox itself is the spill file: it holds every payload under its id. */
const SPILL_BYTES = 8 * 1024 * 1024;

export class TransactionRows {
  #rows: KeptRow[] = [];
  #bytes = 0;
  #txid: number | null = null;
  #spilled: SpilledRows | null = null;

  add(row: Row, bytes: number): void {
    this.#bytes += bytes;
    this.#txid ??= Number(row.txid);
    if (this.#spilled) {
      this.#spilled.add(row);
      return;
    }
    this.#rows.push({ row, bytes });
    if (this.#bytes > SPILL_BYTES) {
      this.#spilled = new SpilledRows();
      for (const each of this.#rows) this.#spilled.add(each.row);
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

  /** As SpilledRows gives them; none where the rows themselves were kept. */
  *chunksOfPatients(size: number): Generator<number[]> {
    yield* this.#spilled?.chunksOfPatients(size) ?? [];
  }
}

export interface KeptRow {
  readonly row: Row;
  /** Its size in the stream. */
  readonly bytes: number;
}
