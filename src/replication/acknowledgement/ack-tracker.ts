// The low-water mark: which LSN may be acknowledged while transactions finish in any order.
import { type Lsn, maxLsn } from '../../postgres/lsn.ts';

declare const ticketBrand: unique symbol;

/** A transaction that was begun and is not finished. */
export interface Ticket {
  readonly [ticketBrand]: true;
}

interface Unfinished {
  before: Unfinished | null;
  after: Unfinished | null;
  /** The end of what has settled between this one and the next: where the mark goes once this one is finished too. */
  settledTo: Lsn | null;
}

/**
 * One tracker belongs to one connection and is thrown away with it. It must hear of a transaction at Begin, before
 * anything is awaited: only then can a keepalive or a later transaction never move the mark past an unfinished one.
 * Only the unfinished are kept, in WAL order; what settled behind one of them has collapsed into a single position.
 */
export class AckTracker {
  #lowWaterMark: Lsn;
  #last: Unfinished | null = null;
  #unfinished = 0;

  /** `start` is the slot's confirmed_flush_lsn: the mark never reports less. */
  constructor(start: Lsn) {
    this.#lowWaterMark = start;
  }

  /** The exact end of the last transaction before the lowest unfinished one. */
  get lowWaterMark(): Lsn {
    return this.#lowWaterMark;
  }

  /** Transactions that are not finished. */
  get unfinished(): number {
    return this.#unfinished;
  }

  begin(): Ticket {
    const begun: Unfinished = { before: this.#last, after: null, settledTo: null };
    if (this.#last) this.#last.after = begun;
    this.#last = begun;
    this.#unfinished += 1;
    return begun as unknown as Ticket;
  }

  /** The transaction is finished: its PUTs succeeded or were dead-lettered AND their records are committed. Once a ticket. */
  finish(ticket: Ticket, endLsn: Lsn): void {
    const { before, after, settledTo } = ticket as unknown as Unfinished;
    const end = maxLsn(endLsn, settledTo ?? endLsn);
    if (before) {
      before.settledTo = maxLsn(end, before.settledTo ?? end);
      before.after = after;
    } else this.#lowWaterMark = maxLsn(this.#lowWaterMark, end);
    if (after) after.before = before;
    else this.#last = before;
    this.#unfinished -= 1;
  }

  /**
   * A keepalive (or our own heartbeat) says that everything before `walEnd` has been sent. It counts only when nothing is
   * unfinished; then it must count, or an idle slot pins WAL for ever.
   */
  idle(walEnd: Lsn): void {
    if (this.#unfinished === 0) this.#lowWaterMark = maxLsn(this.#lowWaterMark, walEnd);
  }
}
