// The low-water mark: which LSN may be acknowledged while transactions finish in any order.
import { type Lsn, maxLsn } from './lsn.ts';

/** A transaction that was begun and is not finished. */
export interface Ticket {
  readonly endLsn: Lsn | null;
}

interface OpenTicket {
  endLsn: Lsn | null;
}

/**
 * One tracker belongs to one connection and is thrown away with it. It must hear of a transaction at Begin, before
 * anything is awaited: only then can a keepalive or a later transaction never move the mark past an unfinished one.
 */
export class AckTracker {
  #flushed: Lsn;
  #open: OpenTicket[] = [];
  #head = 0;

  /** `start` is the slot's confirmed_flush_lsn: the mark never reports less. */
  constructor(start: Lsn) {
    this.#flushed = start;
  }

  /** The exact end of the last transaction before the lowest unfinished one. */
  get flushed(): Lsn {
    return this.#flushed;
  }

  /** Transactions from the lowest unfinished one on. */
  get unfinished(): number {
    return this.#open.length - this.#head;
  }

  begin(): Ticket {
    const ticket: OpenTicket = { endLsn: null };
    this.#open.push(ticket);
    return ticket;
  }

  /** The transaction is finished: its PUTs succeeded or were dead-lettered AND their records are committed. */
  finish(ticket: Ticket, endLsn: Lsn): void {
    (ticket as OpenTicket).endLsn = endLsn;
    for (let next = this.#open[this.#head]; next?.endLsn != null; next = this.#open[this.#head]) {
      this.#flushed = maxLsn(this.#flushed, next.endLsn);
      this.#head += 1;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#open.length) {
      this.#open = this.#open.slice(this.#head);
      this.#head = 0;
    }
  }

  /**
   * A keepalive (or our own heartbeat) says that everything before `walEnd` has been sent. It counts only when nothing is
   * unfinished; then it must count, or an idle slot pins WAL for ever.
   */
  idle(walEnd: Lsn): void {
    if (this.unfinished === 0) this.#flushed = maxLsn(this.#flushed, walEnd);
  }
}
