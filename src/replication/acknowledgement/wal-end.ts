// How far the WAL is, by the control connection: what the stream alone tells of is not acknowledged.
import type pg from 'pg';
import { type Lsn, maxLsn, parseLsn } from '../../postgres/lsn.ts';
import { UnreadableStream } from '../stream/frame-guard.ts';

/**
 * PostgreSQL believes whatever position a client acknowledges, also one that its WAL has not reached, and never sends what
 * ends before it. So where a position comes from a stream that something on the way has changed, all would be lost from then on.
 */
export class WalEnd {
  readonly #control: pg.Client;
  #known: Lsn;
  #asking = false;

  /** `known`: it was as far as this. */
  constructor(control: pg.Client, known: Lsn) {
    this.#control = control;
    this.#known = known;
  }

  get isAsked(): boolean {
    return this.#asking;
  }

  /** False where it has to be asked. */
  isKnownToReach(position: Lsn): boolean {
    return position <= this.#known;
  }

  /** Rejects where the WAL does not reach it, or PostgreSQL does not say. */
  async mustReach(position: Lsn): Promise<void> {
    this.#asking = true;
    try {
      const { rows } = await this.#control.query<{ reached: string }>(
        'SELECT pg_current_wal_flush_lsn()::text AS reached',
      );
      this.#known = maxLsn(this.#known, parseLsn(rows[0]?.reached ?? ''));
    } finally {
      this.#asking = false;
    }
    if (position > this.#known) throw new UnreadableStream(new Error('A position that the WAL has not reached.'));
  }
}
