// The rows of one transaction while it arrives: whole rows as long as they are few, only ids beyond that.
import type { Row } from '../replication/messages.ts';

/** From here on the outbox itself is the spill file: it holds every payload under its id. */
const SPILL_BYTES = 8 * 1024 * 1024;

export class TransactionRows {
  #rows: Row[] = [];
  #bytes = 0;
  #txid: number | null = null;
  #spilled: { ids: number[]; patientIds: number[] } | null = null;

  add(row: Row, bytes: number): void {
    this.#bytes += bytes;
    this.#txid ??= Number(row.txid);
    if (this.#spilled) {
      this.#spill(row, this.#spilled);
      return;
    }
    this.#rows.push(row);
    if (this.#bytes > SPILL_BYTES) {
      const spilled = { ids: [], patientIds: [] };
      for (const each of this.#rows) this.#spill(each, spilled);
      this.#spilled = spilled;
      this.#rows = [];
    }
  }

  /** The rows, or null when only their ids were kept. */
  get rows(): readonly Row[] | null {
    return this.#spilled ? null : this.#rows;
  }

  /** The 64-bit id that every row carries; null before the first row. */
  get txid(): number | null {
    return this.#txid;
  }

  /** The ids of the spilled rows in chunks of about `size`, a patient's rows never in two chunks, each patient's in their order. */
  *chunksOfPatients(size: number): Generator<number[]> {
    const { ids, patientIds } = this.#spilled ?? { ids: [], patientIds: [] };
    const order = Uint32Array.from(ids.keys()).sort((a, b) => (patientIds[a] ?? 0) - (patientIds[b] ?? 0) || a - b);
    let chunk: number[] = [];
    let lastPatient: number | undefined;
    for (const index of order) {
      const patient = patientIds[index];
      if (chunk.length >= size && patient !== lastPatient) {
        yield chunk;
        chunk = [];
      }
      chunk.push(ids[index] ?? 0);
      lastPatient = patient;
    }
    if (chunk.length > 0) yield chunk;
  }

  #spill(row: Row, into: { ids: number[]; patientIds: number[] }): void {
    into.ids.push(Number(row.id));
    into.patientIds.push(Number(row.patient_id ?? 0));
  }
}
