// From transactions to finished deliveries: prepares them, takes their places in the lanes, and tells when all is recorded.
import { tokenKey } from '../../fhir/model/token.ts';
import type { Lsn } from '../../postgres/lsn.ts';
import type { Courier } from '../courier/courier.ts';
import { type Delivery, deliveriesOf, identifiersOf, type MapState, whoIs } from '../delivery/delivery.ts';
import { parseEvent } from '../delivery/event.ts';
import { giversFirst } from '../delivery/givers-first.ts';
import { referencesOf } from '../delivery/references.ts';
import type { Source } from '../delivery/source.ts';
import type { TransactionRows } from '../delivery/transaction-rows.ts';
import type { Links } from '../tables/links.ts';
import type { OutboxReader } from '../tables/reader.ts';
import { Completion } from './completion.ts';
import type { Lanes, Place } from './lanes.ts';
import type { Window } from './window.ts';

/** A committed transaction, as the slot gave it. */
export interface CommittedTransaction {
  readonly committedAt: Date;
  readonly endLsn: Lsn;
  readonly rows: TransactionRows;
}

/** Deliveries in stream order, or the rows to read them from. */
export interface MappedTransaction extends CommittedTransaction {
  readonly deliveries: readonly Delivery[] | null;
}

const CHUNK_ROWS = 500;
/** Of states that are read from the outbox at once. */
const LOAD_BYTES = 4 * 1024 * 1024;

export interface SchedulerParts {
  readonly lanes: Lanes<Delivery>;
  readonly window: Window;
  readonly links: Links;
  readonly reader: OutboxReader;
  readonly courier: Courier;
  readonly mapState: MapState;
}

/** Everything that is to be sent passes through it: it knows what is in the lanes, and takes no more than there is room for. */
export class Scheduler {
  readonly #parts: SchedulerParts;
  /** Deliveries that are in the lanes, by event key: what is sent again after a reconnect joins them. */
  readonly #inLanes = new Map<string, Promise<void>>();
  readonly #rowsInLanes = new Set<number>();

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
  }

  /** Ids of the outbox rows whose deliveries are not finished. */
  rowsInLanes(): number[] {
    return [...this.#rowsInLanes];
  }

  /** Parses and maps, and asks for all unknown links in one query: which lanes a delivery needs depends on its link. */
  async prepare<T extends CommittedTransaction>(transactions: readonly T[]): Promise<(T & MappedTransaction)[]> {
    const prepared = transactions.map((transaction) => {
      const { rows } = transaction.rows;
      return {
        ...transaction,
        deliveries:
          rows &&
          deliveriesOf(
            rows.map(({ row, bytes }) => parseEvent(row, bytes)),
            transaction,
            this.#parts.mapState,
          ),
      };
    });
    await this.#parts.links.prefetch(
      prepared.flatMap(({ deliveries }) =>
        (deliveries ?? []).flatMap((delivery) => [delivery, ...referencesOf(delivery)]),
      ),
    );
    return prepared;
  }

  /** As `schedule`, at once; null where that may have to wait. Most transactions are one delivery for which there is room. */
  scheduleAtOnce({ deliveries }: MappedTransaction): { finished: Promise<unknown> } | null {
    const [delivery] = deliveries ?? [];
    if (!delivery || deliveries?.length !== 1 || !this.#parts.window.hasRoom) return null;
    return { finished: this.#enter(delivery) };
  }

  /**
   * Puts the transaction's deliveries into their lanes, waiting for room. `finished` resolves when each is recorded in
   * PostgreSQL. (It is wrapped in an object because an async function would wait for a bare promise.)
   */
  async schedule(transaction: MappedTransaction, signal: AbortSignal): Promise<{ finished: Promise<unknown> }> {
    const done = new Completion();
    if (transaction.deliveries) await this.#enterAll(transaction.deliveries, done, signal);
    else {
      for (const ids of transaction.rows.chunksOfPatients(CHUNK_ROWS)) {
        const rows = await this.#parts.reader.rows(ids, transaction.rows.txid);
        await this.scheduleStored([deliveriesOf(rows, transaction, () => null)], done, signal);
      }
    }
    const finished = done.all();
    // Who asked for it may have gone meanwhile (the slot was lost): that nobody listens is no error of its own.
    finished.catch(() => undefined);
    return { finished };
  }

  /**
   * As `schedule`, for the deliveries of several transactions, whose states are still in the outbox: they are read in a few
   * queries, and no more of them at once than memory has room for. Each is added to `done`.
   */
  async scheduleStored(transactions: readonly Delivery[][], done: Completion, signal: AbortSignal): Promise<void> {
    for (const parts of portions(
      transactions.flatMap((deliveries) => portions(deliveries, bytesOf)),
      bytesOfAll,
    )) {
      await this.#load(parts.flat());
      for (const part of parts) await this.#enterAll(part, done, signal);
    }
  }

  /** Reads the states of parked deliveries, and their links, in a few queries. */
  async #load(deliveries: readonly Delivery[]): Promise<void> {
    const { links, reader } = this.#parts;
    await links.prefetch(deliveries);
    await Promise.all(
      deliveries.map(async (delivery) => {
        delivery.mapped ??= await reader.reload(delivery);
      }),
    );
    await links.prefetch(deliveries.flatMap(referencesOf));
  }

  /** Those of one transaction: before each, waits for room until `signal` is aborted. */
  async #enterAll(deliveries: readonly Delivery[], done: Completion, signal: AbortSignal): Promise<void> {
    for (const delivery of giversFirst(deliveries)) {
      await this.#parts.window.room(signal);
      done.add(this.#enter(delivery));
    }
  }

  /** Resolves when no delivery is in a lane any more, however they ended. */
  async empty(): Promise<void> {
    while (this.#inLanes.size > 0) await Promise.allSettled(this.#inLanes.values());
  }

  #enter(delivery: Delivery): Promise<void> {
    const running = this.#inLanes.get(delivery.eventKey);
    if (running) return running;
    const { lanes, window } = this.#parts;
    const place = lanes.enter(delivery, this.#keysOf(delivery));
    window.enter(delivery.bytes);
    for (const id of delivery.outboxIds) this.#rowsInLanes.add(id);
    const done = this.#deliver(delivery, place).finally(() => {
      lanes.leave(place);
      window.leave(delivery.bytes);
      this.#inLanes.delete(delivery.eventKey);
      for (const id of delivery.outboxIds) this.#rowsInLanes.delete(id);
    });
    this.#inLanes.set(delivery.eventKey, done);
    // Behind a patient that waits for a retry only ids are kept.
    if (lanes.first(whoIs(delivery))?.waitsForRetry) this.#park(delivery);
    return done;
  }

  async #deliver(delivery: Delivery, place: Place<Delivery>): Promise<void> {
    const { lanes, window, courier } = this.#parts;
    await place.ready;
    window.becomeRunnable();
    let runnable = true;
    try {
      await courier.deliver(delivery, {
        claim: (identifier) => lanes.claim(place, tokenKey(identifier)),
        park: () => {
          window.stopBeingRunnable();
          runnable = false;
          delivery.waitsForRetry = true;
          for (const behind of lanes.in(whoIs(delivery))) this.#park(behind);
        },
        unpark: () => {
          window.becomeRunnable();
          runnable = true;
          delivery.waitsForRetry = false;
        },
      });
    } finally {
      if (runnable) window.stopBeingRunnable();
    }
  }

  #park(delivery: Delivery): void {
    // Parked already, or nothing to read again: a row that cannot be read.
    if (delivery.bytes === 0) return;
    this.#parts.window.freeBytes(delivery.bytes);
    delivery.bytes = 0;
    delivery.mapped = null;
  }

  /**
   * Its patient's lane and its own always; the identifiers' lanes only where the identifier may decide which resource is written.
   * (An identifier's key has a blank and a row's has none: they are never taken for each other.)
   */
  #keysOf(delivery: Delivery): string[] {
    // A form or reading has one of its own, for it may go from one patient to another; and it may refer to another patient's row.
    const keys =
      delivery.table === 'patient'
        ? [whoIs(delivery)]
        : [whoIs(delivery), ...[delivery, ...referencesOf(delivery)].map(rowLane)];
    const link = this.#parts.links.peek(delivery);
    if (link?.fhirId && !link.deleted && delivery.previous === null && delivery.operation === 'upsert') return keys;
    const current = identifiersOf(delivery) ?? [];
    return keys.concat([...current, ...(delivery.previous ?? [])].map(tokenKey));
  }
}

/** The lane of a row's resource. A patient's own is the one that everything of that patient takes (see whoIs). */
function rowLane({ table, sourceId }: Source): string {
  return table === 'patient' ? `Patient/${sourceId}` : `${table}/${sourceId}`;
}

function bytesOf(delivery: Delivery): number {
  return delivery.bytes;
}

function bytesOfAll(deliveries: readonly Delivery[]): number {
  return deliveries.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** In their order, cut where LOAD_BYTES are reached. */
function portions<T>(items: readonly T[], sizeOf: (item: T) => number): T[][] {
  const all: T[][] = [];
  let bytes = LOAD_BYTES;
  for (const item of items) {
    if (bytes >= LOAD_BYTES) {
      all.push([]);
      bytes = 0;
    }
    all.at(-1)?.push(item);
    bytes += sizeOf(item);
  }
  return all;
}
