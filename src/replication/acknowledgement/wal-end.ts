// How far the WAL is, by the control connection: what the stream alone tells of is not acknowledged.
import type pg from 'pg';
import { type Lsn, maxLsn, parseLsn } from '../../postgres/lsn.ts';
import { onlyRow } from '../../postgres/only-row.ts';
import { UnreadableStream } from '../stream/unreadable-stream.ts';

/**
 * PostgreSQL believes whatever position a client acknowledges, also one that its WAL has not reached, and never sends what
 * ends before it. So where a position comes from a stream that something on the way has changed, all would be lost from then on.
 */
export class WalEnd {
  readonly #control: pg.Client;
  #reached: Lsn;
  #asking = false;

  /** `reached`: it was as far as this. */
  constructor(control: pg.Client, reached: Lsn) {
    this.#control = control;
    this.#reached = reached;
  }

  get isAsked(): boolean {
    return this.#asking;
  }

  /** False where it has to be asked. */
  isKnownToReach(position: Lsn): boolean {
    return position <= this.#reached;
  }

  /** Rejects where the WAL does not reach it, or PostgreSQL does not say. */
  async mustReach(position: Lsn): Promise<void> {
    this.#asking = true;
    try {
      const { reached } = onlyRow(
        await this.#control.query<{ reached: string }>('SELECT pg_current_wal_flush_lsn()::text AS reached'),
      );
      this.#reached = maxLsn(this.#reached, parseLsn(reached));
    } finally {
      this.#asking = false;
    }
    if (position > this.#reached) throw new UnreadableStream(new Error('A position that the WAL has not reached.'));
  }
}
