// Feedback to the slot: which position is acknowledged, and when PostgreSQL is told of it.
import type pg from 'pg';
import { settledWithin } from '../../pause.ts';
import type { Lsn } from '../../postgres/lsn.ts';
import { SIGN_OF_LIFE_MS } from '../stream/connection.ts';
import { AckTracker, type Ticket } from './ack-tracker.ts';
import { WalEnd } from './wal-end.ts';

const LEAST_INTERVAL_MS = 50;
/** Who is silent for longer keeps nobody from ending: what was finished is sent again, and recognised. */
const LAST_QUESTION_MS = 1000;

export interface FeedbackParts {
  /** The slot's confirmed_flush_lsn. */
  readonly confirmed: Lsn;
  readonly control: pg.Client;
  sendStatus(acknowledged: Lsn): void;
  /** The WAL does not reach what the stream told of, or PostgreSQL does not say. */
  onFault(error: Error): void;
}

/**
 * Three things have a status sent: something was finished (soon, many finishes in one message), the timer, and the end. A
 * keepalive that asks for a reply gets none of its own: the timer is the answer, well within wal_sender_timeout, and it
 * goes on while the socket is paused and nobody reads what the server asks.
 */
export class Feedback {
  readonly #parts: FeedbackParts;
  readonly #tracker: AckTracker;
  readonly #walEnd: WalEnd;
  readonly #timer: NodeJS.Timeout;
  #soon: NodeJS.Timeout | null = null;
  #reportedAt = 0;
  #acknowledged: Lsn;
  #stopped = false;

  constructor(parts: FeedbackParts) {
    this.#parts = parts;
    this.#tracker = new AckTracker(parts.confirmed);
    this.#walEnd = new WalEnd(parts.control, parts.confirmed);
    this.#acknowledged = parts.confirmed;
    this.#timer = setInterval(() => this.#report(), SIGN_OF_LIFE_MS);
  }

  /** Transactions that are not finished. */
  get unfinished(): number {
    return this.#tracker.unfinished;
  }

  /** At Begin, before anything is awaited. */
  begin(): Ticket {
    return this.#tracker.begin();
  }

  /** All of the transaction is recorded in PostgreSQL, and that is committed. */
  finish(ticket: Ticket, endLsn: Lsn): void {
    this.#tracker.finish(ticket, endLsn);
    this.#reportSoon();
  }

  /** A keepalive or a heartbeat: everything before `walEnd` has been sent. */
  idle(walEnd: Lsn): void {
    this.#tracker.idle(walEnd);
  }

  /** Ends the timer. What finishes after it is still acknowledged, for as long as the connection is there. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
    clearTimeout(this.#soon ?? undefined);
  }

  /** The last position, before the connection is closed. */
  async last(): Promise<void> {
    const { lowWaterMark } = this.#tracker;
    if (!this.#walEnd.isKnownToReach(lowWaterMark))
      await settledWithin(this.#walEnd.mustReach(lowWaterMark), LAST_QUESTION_MS);
    if (this.#walEnd.isKnownToReach(lowWaterMark)) this.#send(lowWaterMark);
  }

  #reportSoon(): void {
    const wait = LEAST_INTERVAL_MS - (performance.now() - this.#reportedAt);
    if (wait <= 0) {
      this.#report();
      return;
    }
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      this.#report();
    }, wait);
  }

  /** Sends the low-water mark. Where the WAL is not known to reach it, it is asked first, and meanwhile the timer sends the old one. */
  #report(): void {
    this.#reportedAt = performance.now();
    const { lowWaterMark } = this.#tracker;
    if (this.#walEnd.isKnownToReach(lowWaterMark) || this.#walEnd.isAsked) {
      this.#send(lowWaterMark);
      return;
    }
    this.#walEnd.mustReach(lowWaterMark).then(
      () => {
        if (this.#stopped) return;
        this.#send(lowWaterMark);
        if (this.#tracker.lowWaterMark > lowWaterMark) this.#reportSoon();
      },
      (error: Error) => this.#parts.onFault(error),
    );
  }

  /**
   * THE place where an LSN is acknowledged; nothing else calls `sendStatus`. What is acknowledged PostgreSQL never sends
   * again, so it is the low-water mark and nothing beyond it: everything before has been sent to the FHIR server (or is a dead
   * letter) and its record is committed (test/replication/unfinished.pg.test.ts fails without that, and for the
   * exact byte test/replication/acknowledge.pg.test.ts); and it is sent only once the WAL is known to reach it, for
   * PostgreSQL believes any position (test/replication/wild-position.pg.test.ts).
   */
  #send(lowWaterMark: Lsn): void {
    if (this.#walEnd.isKnownToReach(lowWaterMark)) this.#acknowledged = lowWaterMark;
    this.#parts.sendStatus(this.#acknowledged);
  }
}
