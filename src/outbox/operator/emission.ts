// Emitting many rows beside an application that changes them: small transactions that give way to everybody else.
import { sql } from 'kysely';
import { pause } from '../../pause.ts';
import { errorCode } from '../../postgres/errors.ts';
import type { Database } from '../tables/database.ts';
import { type Obstacle, roomInOutbox } from './room.ts';

/** What an emission may wait for. `locked`: an open transaction is changing the next row. */
export type Wait = Obstacle | 'locked' | 'no-database';

/** Other writers of these rows wait until its transaction commits: some 20 ms. */
const LARGEST = 250;
/**
 * Less than PostgreSQL's deadlock_timeout: of two transactions that wait for each other it is ours that is given up.
 * https://www.postgresql.org/docs/current/runtime-config-locks.html
 */
const LOCK_TIMEOUT = '200ms';
const AGAIN_MS = 100;
/** lock_not_available, deadlock_detected. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const CONTENTION = new Set(['55P03', '40P01']);

/** How many rows a transaction takes: fewer where somebody holds one of them, so that it comes as far as that one. */
export class Stride {
  readonly #tell: (wait: Wait | null) => void;
  readonly #signal: AbortSignal;
  #size = LARGEST;

  constructor(tell: (wait: Wait | null) => void, signal: AbortSignal) {
    this.#tell = tell;
    this.#signal = signal;
  }

  /** Runs `work`, a transaction for so many rows at most, until nobody holds what it needs. */
  async take<T>(work: (size: number) => Promise<T>): Promise<T> {
    for (let told = false; ; ) {
      try {
        const result = await work(this.#size);
        this.#size = Math.min(LARGEST, this.#size * 2);
        if (told) this.#tell(null);
        return result;
      } catch (error) {
        if (!CONTENTION.has(errorCode(error) ?? '')) throw error;
      }
      if (this.#size === 1 && !told) {
        told = true;
        this.#tell('locked');
      }
      this.#size = Math.max(1, this.#size >> 1);
      await pause(AGAIN_MS, this.#signal);
    }
  }
}

/** Emits the current state of these rows, in the order given, each as if it had just changed. */
export async function emit(
  db: Database,
  table: string,
  ids: readonly number[],
  watcher: { moved(emitted: number): void; waiting(wait: Wait | null): void },
  signal: AbortSignal,
): Promise<void> {
  const stride = new Stride(watcher.waiting, signal);
  for (let done = 0; done < ids.length; watcher.moved(done)) {
    await roomInOutbox(db, watcher.waiting, signal);
    done += await stride.take(async (size) => {
      const part = ids.slice(done, done + size);
      await db.transaction().execute(async (transaction) => {
        await sql`SELECT set_config('lock_timeout', ${LOCK_TIMEOUT}, true)`.execute(transaction);
        await sql`SELECT public.fhir_emit(${table}, ${part}::int[])`.execute(transaction);
      });
      return part.length;
    });
  }
}
