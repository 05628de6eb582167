// Group commit: finished deliveries are recorded together, as many as have gathered while the last group was written.
import type { Logger } from 'pino';
import type { Metrics } from '../../metrics/metrics.ts';
import { pause } from '../../pause.ts';
import { errorCode, isDataError } from '../../postgres/errors.ts';
import { type Delivery, isFromTable } from '../delivery/delivery.ts';
import type { Database } from './database.ts';
import { deadEnding, type Ending } from './ending.ts';
import { persistently } from './outages.ts';
import { type Entry, type Recorded, recordGroup } from './record.ts';

const MAX_GROUP = 500;
/** A commit is visible to others a moment after the slot hands it out; with synchronous standbys after a round trip. */
const INVISIBLE_RETRY_MS = 5;

interface Pending extends Entry {
  resolve(recorded: Ending): void;
  reject(error: unknown): void;
}

/** Many deliveries call it at once; it writes one group at a time. */
export class Recorder {
  readonly #db: Database;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  #pending: Pending[] = [];
  #writing = false;

  constructor(db: Database, metrics: Metrics, log: Logger, signal: AbortSignal) {
    this.#db = db;
    this.#metrics = metrics;
    this.#log = log;
    this.#signal = signal;
  }

  /**
   * Resolves once the record is committed in PostgreSQL, with what was recorded: a dead letter where PostgreSQL refused
   * the ending. Waits through outages; rejects when the connector stops.
   */
  record(delivery: Delivery, ending: Ending): Promise<Ending> {
    return new Promise((resolve, reject) => {
      this.#add({ delivery, ending, withoutRows: false, resolve, reject });
    });
  }

  #add(entry: Pending): void {
    this.#pending.push(entry);
    if (!this.#writing) void this.#write();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    while (this.#pending.length > 0) await this.#writeGroup(this.#pending.splice(0, MAX_GROUP));
    this.#writing = false;
  }

  async #writeGroup(group: Pending[]): Promise<void> {
    try {
      const results = await persistently(() => recordGroup(this.#db, group), this.#log, this.#signal);
      for (const [index, entry] of group.entries()) this.#settle(entry, results[index] ?? 'invisible');
    } catch (error) {
      await this.#halve(group, error);
    }
  }

  #settle(entry: Pending, result: Recorded): void {
    if (result === 'recorded') {
      entry.resolve(entry.ending);
      return;
    }
    // What was read from the table has been visible (and may have come from another cluster, with a txid of the future).
    if (result === 'invisible' && !isFromTable(entry.delivery)) {
      // The others of the group do not wait for it.
      pause(INVISIBLE_RETRY_MS, this.#signal).then(() => this.#add(entry), entry.reject);
      return;
    }
    const { eventKey, outboxIds, txid } = entry.delivery;
    this.#log.warn(
      { eventKey, outboxIds, txid },
      'Somebody removed outbox rows before they were recorded; recording the event without them.',
    );
    this.#metrics.removedRows.inc(outboxIds.length);
    this.#add({ ...entry, withoutRows: true });
  }

  /** Wrong data of one entry must not keep the others from being recorded: the group is halved until it stands alone. */
  async #halve(group: Pending[], error: unknown): Promise<void> {
    const [first] = group;
    if (!isDataError(error)) {
      for (const entry of group) entry.reject(error);
    } else if (group.length > 1) {
      const middle = group.length >> 1;
      await this.#writeGroup(group.slice(0, middle));
      await this.#writeGroup(group.slice(middle));
    } else if (first && first.ending.kind !== 'dead') {
      const reason = `PostgreSQL refused to record the delivery (SQLSTATE ${errorCode(error)}).`;
      this.#log.error({ eventKey: first.delivery.eventKey, code: errorCode(error) }, reason);
      // It was sent.
      const ending = deadEnding(first.delivery, reason, null, true);
      await this.#writeGroup([{ ...first, ending }]);
    } else if (first?.ending.kind === 'dead' && first.ending.mayCarry !== null) {
      // PostgreSQL may have refused the identifiers themselves.
      await this.#writeGroup([{ ...first, ending: { ...first.ending, mayCarry: null } }]);
    } else first?.reject(error);
  }
}
