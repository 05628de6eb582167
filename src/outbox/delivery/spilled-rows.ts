// Rows of a large transaction whose payloads stay in the outbox: some bytes of each, outside of V8's heap, which would grow
// by several times as much.
import type { Row } from '../../replication/stream/messages.ts';
import { KINDS, kindOfTable } from './kinds.ts';

const PIECE_ROWS = 65_536;
/** Of one patient, so many chunks may be read as one: beyond that the rows of its forms and readings are parted. */
const MOST_CHUNKS = 20;
/** The place of the patient among KINDS. */
const PATIENT = 0;
/** The place that a row of no kind gets. */
const NO_KIND = KINDS.length;

const [NOTHING, THERE, DELETED] = [0, 1, 2];

interface Piece {
  readonly ids: Float64Array;
  /** Twice the patient's id, and one more where the row says that the patient was inserted. */
  readonly patients: Uint32Array;
  /** Of the changed row, where it is a resource of its own. */
  readonly records: Uint32Array;
  /** The place among KINDS of the resource that the row is of. */
  readonly kinds: Uint8Array;
  /** What the row says of it: that it is there, that it is deleted, or neither. */
  readonly says: Uint8Array;
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
        kinds: new Uint8Array(PIECE_ROWS),
        says: new Uint8Array(PIECE_ROWS),
      });
    }
    const piece = this.#piece(this.#length);
    const kind = kindOfTable(String(row.table_name));
    const place = kind ? KINDS.indexOf(kind) : NO_KIND;
    piece.ids[at] = Number(row.id);
    piece.patients[at] =
      Number(row.patient_id ?? 0) * 2 + (row.table_name === 'patient' && row.operation === 'I' ? 1 : 0);
    piece.kinds[at] = place;
    // Rows of the patient's own tables are all of one resource.
    piece.records[at] = kind && place !== PATIENT ? Number(row.record_id) : 0;
    piece.says[at] = kind?.table !== row.table_name ? NOTHING : row.operation === 'D' ? DELETED : THERE;
    this.#hasRecords ||= place !== PATIENT;
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
        const own = rows.find((index) => this.#at('kinds', index) === PATIENT);
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

  #byPatient(): Uint32Array {
    return this.#sorted(this.#all(), (index) => this.#patientAt(index) >>> 1);
  }

  /** Of a form or reading that goes from one patient to another, all rows are of the last one: they are one delivery. */
  #giveToLastPatient(): void {
    const all = this.#all();
    for (const kind of KINDS.keys()) {
      if (kind === PATIENT) continue;
      for (const rows of this.#groups(this.#byRecord(all, kind))) {
        const last = this.#patientAt(rows.at(-1) ?? 0);
        for (const index of rows) this.#piece(index).patients[index % PIECE_ROWS] = last;
      }
    }
  }

  /** One patient's rows resource by resource, in the order in which these may be sent (see deliveryRank). */
  *#resources(rows: Uint32Array): Generator<Uint32Array> {
    const kinds = [...KINDS.keys(), NO_KIND].map((kind) => this.#byRecord(rows, kind));
    for (const sorted of kinds) for (const group of this.#groups(sorted)) if (!this.#isDeleted(group)) yield group;
    for (const sorted of kinds.toReversed())
      for (const group of this.#groups(sorted)) if (this.#isDeleted(group)) yield group;
  }

  /** The last row that says it decides. */
  #isDeleted(group: Uint32Array): boolean {
    const deciding = group.findLast((index) => this.#at('says', index) !== NOTHING);
    return deciding !== undefined && this.#at('says', deciding) === DELETED;
  }

  #byRecord(rows: Uint32Array, kind: number): Uint32Array {
    const ofKind = rows.filter((index) => this.#at('kinds', index) === kind);
    return this.#sorted(ofKind, (index) => this.#at('records', index));
  }

  /** The rows of each resource. */
  *#groups(sorted: Uint32Array): Generator<Uint32Array> {
    const recordAt = (at: number) => this.#at('records', sorted[at] ?? 0);
    for (let from = 0, to = 0; from < sorted.length; from = to) {
      while (to < sorted.length && recordAt(to) === recordAt(from)) to += 1;
      yield sorted.subarray(from, to);
    }
  }

  #all(): Uint32Array {
    const all = new Uint32Array(this.#length);
    for (let index = 0; index < all.length; index += 1) all[index] = index;
    return all;
  }

  /** By a number of 32 bits and then as they came. Numbers of 64 bits are sorted in place, without a function: there may be millions. */
  #sorted(rows: Uint32Array, keyOf: (index: number) => number): Uint32Array {
    const keys = new BigUint64Array(rows.length);
    for (let at = 0; at < keys.length; at += 1)
      keys[at] = (BigInt(keyOf(rows[at] ?? 0)) << 32n) | BigInt(rows[at] ?? 0);
    keys.sort();
    // Not by Uint32Array.from with a function: that makes a list of all keys first, each an object, and V8's heap keeps the room.
    const order = new Uint32Array(keys.length);
    for (let at = 0; at < order.length; at += 1) order[at] = Number(BigInt.asUintN(32, keys[at] ?? 0n));
    return order;
  }

  #at(column: 'records' | 'kinds' | 'says', index: number): number {
    return this.#piece(index)[column][index % PIECE_ROWS] ?? 0;
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
