// Rows of a large transaction whose payloads stay in the outbox: some bytes of each, outside of V8's heap, which would grow
// by several times as much.
import type { Row } from '../replication/messages.ts';
import { DELIVERY_RANKS, deliveryRank } from './resources.ts';

const PIECE_ROWS = 65_536;
/** Of one patient, so many chunks may be read as one: beyond that the rows of its forms and readings are parted. */
const MOST_CHUNKS = 20;
const NO_RANK = 255;

interface Piece {
  readonly ids: Float64Array;
  /** Twice the patient's id, and one more where the row says that the patient was inserted. */
  readonly patients: Uint32Array;
  /** Of the changed row, where it is a resource of its own. */
  readonly records: Uint32Array;
  /** The rank that the row's table has, and the one that its operation gives the resource; 255 for a row that decides nothing. */
  readonly tables: Uint8Array;
  readonly ranks: Uint8Array;
}

export class SpilledRows {
  readonly #pieces: Piece[] = [];
  #length = 0;
  #hasRecords = false;

  add(row: Row): void {
    const at = this.#length % PIECE_ROWS;
    if (at === 0) {
      this.#pieces.push({
        ids: new Float64Array(PIECE_ROWS),
        patients: new Uint32Array(PIECE_ROWS),
        records: new Uint32Array(PIECE_ROWS),
        tables: new Uint8Array(PIECE_ROWS),
        ranks: new Uint8Array(PIECE_ROWS),
      });
    }
    const piece = this.#piece(this.#length);
    const table = String(row.table_name);
    const rank = deliveryRank(table, false);
    piece.ids[at] = Number(row.id);
    piece.patients[at] =
      Number(row.patient_id ?? 0) * 2 + (row.table_name === 'patient' && row.operation === 'I' ? 1 : 0);
    // Rows of the patient's own tables are all of one resource.
    piece.records[at] = rank > 0 ? Number(row.record_id) : 0;
    piece.tables[at] = rank;
    piece.ranks[at] = table === 'patient_other_identifiers' ? NO_RANK : deliveryRank(table, row.operation === 'D');
    this.#hasRecords ||= rank > 0;
    this.#length += 1;
  }

  /**
   * The rows' ids in chunks of about `size`, those of one resource never in two chunks, and a patient's in one wherever they are
   * few enough; each resource's in their order. New patients come last: they may take identifiers that others give up.
   */
  *chunksOfPatients(size: number): Generator<number[]> {
    if (this.#hasRecords) this.#giveToLastPatient();
    const order = this.#byPatient();
    let chunk: number[] = [];
    for (const isNew of [false, true]) {
      for (let from = 0, to = 0; from < order.length; from = to) {
        const first = this.#patientAt(order[from] ?? 0);
        while (to < order.length && this.#patientAt(order[to] ?? 0) >>> 1 === first >>> 1) to += 1;
        const rows = order.subarray(from, to);
        // By its first row of its own: did the patient come into being in this transaction?
        const own = rows.find((index) => this.#tableAt(index) === 0);
        if ((own !== undefined && this.#patientAt(own) % 2 === 1) !== isNew) continue;
        for (const together of rows.length > MOST_CHUNKS * size ? this.#resources(rows) : [rows]) {
          if (chunk.length >= size) {
            yield chunk;
            chunk = [];
          }
          for (const index of together) chunk.push(this.#idAt(index));
        }
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

  /** Of a form or reading that goes from one patient to another, all rows are of the last one: they are one delivery. */
  #giveToLastPatient(): void {
    const records = new Uint32Array(this.#length).map((_, index) => index).filter((index) => this.#recordAt(index) > 0);
    for (const rows of this.#groups(records)) {
      const last = this.#patientAt(rows.at(-1) ?? 0);
      for (const index of rows) this.#piece(index).patients[index % PIECE_ROWS] = last;
    }
  }

  /** One patient's rows resource by resource, in the order in which these may be sent. */
  *#resources(rows: Uint32Array): Generator<Uint32Array> {
    const groups = [...this.#groups(rows)];
    for (let rank = 0; rank < DELIVERY_RANKS; rank += 1)
      for (const group of groups) if (this.#rankOf(group) === rank) yield group;
  }

  /** The last row that decides says whether the resource is deleted. */
  #rankOf(group: Uint32Array): number {
    const rankAt = (index: number) => this.#piece(index).ranks[index % PIECE_ROWS] ?? NO_RANK;
    const deciding = group.findLast((index) => rankAt(index) !== NO_RANK);
    return deciding === undefined ? 0 : rankAt(deciding);
  }

  /** The rows of each resource, in their order. */
  *#groups(rows: Uint32Array): Generator<Uint32Array> {
    const compare = (a: number, b: number) =>
      this.#tableAt(a) - this.#tableAt(b) || this.#recordAt(a) - this.#recordAt(b);
    const sorted = rows.slice().sort((a, b) => compare(a, b) || a - b);
    for (let from = 0, to = 0; from < sorted.length; from = to) {
      const first = sorted[from] ?? 0;
      while (to < sorted.length && compare(sorted[to] ?? 0, first) === 0) to += 1;
      yield sorted.subarray(from, to);
    }
  }

  #tableAt(index: number): number {
    return this.#piece(index).tables[index % PIECE_ROWS] ?? 0;
  }

  #recordAt(index: number): number {
    return this.#piece(index).records[index % PIECE_ROWS] ?? 0;
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
