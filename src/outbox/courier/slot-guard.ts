// What the outbox must know of the slot: is it ours right now, and which deliveries can nobody have seen before us?
import { settledWithin } from '../../pause.ts';
import type { Lsn } from '../../postgres/lsn.ts';
import type { Delivery } from '../delivery/delivery.ts';

/** One holding of the slot, from connection to connection. */
export interface Holding {
  readonly lease: { readonly valid: boolean; proven(): Promise<void> };
  /** Transactions that end later were committed while the slot was ours; null until that is known (catching up). */
  readonly newAfter: Lsn | null;
}

/** Thrown to whoever waits for the slot when the connector stops. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
}

/** Thrown to a sender that began under a lease which is over: meanwhile another connector may have delivered newer states. */
export class SlotChangedHands extends Error {
  override readonly name = 'SlotChangedHands';
}

export class SlotGuard {
  readonly #acting = new Set<Promise<unknown>>();
  #holding: Holding | null = null;
  #changed = Promise.withResolvers<void>();
  #stopped = false;

  /** The slot is ours (again). */
  hold(holding: Holding): void {
    this.#holding = holding;
    this.#wake();
  }

  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  /** Runs what writes and records under `lease`: without it that could overwrite what a successor wrote. Rejects with SlotChangedHands when it is over. */
  async act<T>(lease: Holding['lease'], work: () => Promise<T>): Promise<T> {
    this.mustHold(lease);
    const acting = work();
    this.#acting.add(acting);
    try {
      return await acting;
    } finally {
      this.#acting.delete(acting);
    }
  }

  /** Resolves when nothing acts any more, or after `timeoutMs` milliseconds: only then may a successor begin. */
  quiet(timeoutMs: number): Promise<void> {
    return settledWithin(Promise.allSettled(this.#acting), timeoutMs);
  }

  /** Waits for a valid lease. */
  async held(): Promise<Holding['lease']> {
    for (;;) {
      if (this.#holding?.lease.valid) return this.#holding.lease;
      if (this.#stopped) throw new Stopped();
      const waits = [this.#changed.promise];
      if (this.#holding) waits.push(this.#holding.lease.proven());
      await Promise.race(waits);
    }
  }

  /** Asked before each write, for what went before may have taken long: throws SlotChangedHands when `lease` is over. */
  mustHold(lease: Holding['lease']): void {
    if (!lease.valid) throw new SlotChangedHands();
  }

  /** Committed after the slot became ours: no connector has sent or recorded it, so it need not be looked up. */
  isNew(delivery: Delivery): boolean {
    const newAfter = this.#holding?.newAfter ?? null;
    return newAfter !== null && delivery.endLsn !== null && delivery.endLsn > newAfter;
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
