// Rows of a large transaction whose payloads stay in the outbox: twelve bytes of each, outside of V8's heap, which would grow
// by several times as much.
import type { Row } from '../replication/messages.ts';

const PIECE_ROWS = 65_536;

interface Piece {
  readonly ids: Float64Array;
  /** Twice the patient's id, and one more where the row says that the patient was inserted. */
  readonly patients: Uint32Array;
}

export class SpilledRows {
  readonly #pieces: Piece[] = [];
  #length = 0;

  add(row: Row): void {
    const at = this.#length % PIECE_ROWS;
    if (at === 0) this.#pieces.push({ ids: new Float64Array(PIECE_ROWS), patients: new Uint32Array(PIECE_ROWS) });
    const piece = this.#piece(this.#length);
    piece.ids[at] = Number(row.id);
    piece.patients[at] =
      Number(row.patient_id ?? 0) * 2 + (row.table_name === 'patient' && row.operation === 'I' ? 1 : 0);
    this.#length += 1;
  }

  /**
   * The rows' ids in chunks of about `size`, a patient's rows never in two chunks, each patient's in their order. New
   * patients come last: they may take identifiers that others give up.
   */
  *chunksOfPatients(size: number): Generator<number[]> {
    const order = this.#byPatient();
    let chunk: number[] = [];
    for (const isNew of [false, true]) {
      for (let from = 0, to = 0; from < order.length; from = to) {
        const first = this.#patientAt(order[from] ?? 0);
        while (to < order.length && this.#patientAt(order[to] ?? 0) >>> 1 === first >>> 1) to += 1;
        // By its first row: did the patient come into being in this transaction?
        if ((first % 2 === 1) !== isNew) continue;
        if (chunk.length >= size) {
          yield chunk;
          chunk = [];
        }
        for (const index of order.subarray(from, to)) chunk.push(this.#idAt(index));
      }
    }
    if (chunk.length > 0) yield chunk;
  }

  /** The rows' indexes, by patient and then as they came. Numbers of 64 bits are sorted in place, without a function. */
  #byPatient(): Uint32Array {
    const keys = new BigUint64Array(this.#length);
    for (let index = 0; index < keys.length; index += 1) {
      keys[index] = (BigInt(this.#patientAt(index) >>> 1) << 32n) | BigInt(index);
    }
    keys.sort();
    // Not by Uint32Array.from with a function: that makes a list of all keys first, each an object, and V8's heap keeps the room.
    const order = new Uint32Array(keys.length);
    for (let at = 0; at < order.length; at += 1) order[at] = Number(BigInt.asUintN(32, keys[at] ?? 0n));
    return order;
  }

  #idAt(index: number): number {
    return this.#piece(index).ids[index % PIECE_ROWS] ?? 0;
  }

  #patientAt(index: number): number {
    return this.#piece(index).patients[index % PIECE_ROWS] ?? 0;
  }

  #piece(index: number): Piece {
    const piece = this.#pieces[Math.floor(index / PIECE_ROWS)];
    if (!piece) throw new RangeError(`There is no row ${index}.`);
    return piece;
  }
}
