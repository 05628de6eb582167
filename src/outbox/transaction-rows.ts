// The rows of one transaction while it arrives: whole rows as long as they are few, only ids beyond that.
import type { Row } from '../replication/messages.ts';

/** From here on the outbox itself is the spill file: it holds every payload under its id. */
const SPILL_BYTES = 8 * 1024 * 1024;

export class TransactionRows {
  #rows: Row[] = [];
  #bytes = 0;
  #txid: number | null = null;
  #spilled: Spilled | null = null;

  add(row: Row, bytes: number): void {
    this.#bytes += bytes;
    this.#txid ??= Number(row.txid);
    if (this.#spilled) {
      this.#spill(row, this.#spilled);
      return;
    }
    this.#rows.push(row);
    if (this.#bytes > SPILL_BYTES) {
      const spilled: Spilled = { ids: [], patientIds: [], isNew: new Map() };
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

  /**
   * The ids of the spilled rows in chunks of about `size`, a patient's rows never in two chunks, each patient's in their
   * order. New patients come last: they may take identifiers that others give up.
   */
  *chunksOfPatients(size: number): Generator<number[]> {
    const { ids, patientIds, isNew } = this.#spilled ?? { ids: [], patientIds: [], isNew: new Map() };
    const rank = (patientId: number) => (isNew.get(patientId) ? 1 : 0);
    const order = Uint32Array.from(ids.keys()).sort((a, b) => {
      const [one = 0, other = 0] = [patientIds[a], patientIds[b]];
      return rank(one) - rank(other) || one - other || a - b;
    });
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

  #spill(row: Row, { ids, patientIds, isNew }: Spilled): void {
    const patientId = Number(row.patient_id ?? 0);
    ids.push(Number(row.id));
    patientIds.push(patientId);
    if (!isNew.has(patientId)) isNew.set(patientId, row.table_name === 'patient' && row.operation === 'I');
  }
}

/** All that is kept of rows whose payloads stay in the outbox. */
interface Spilled {
  readonly ids: number[];
  readonly patientIds: number[];
  /** Did the patient come into being in this transaction? By its first row. */
  readonly isNew: Map<number, boolean>;
}
