// What the outbox must know of the slot: is it ours right now, and which deliveries can nobody have seen before us?
import type { Lsn } from '../replication/lsn.ts';
import type { Delivery } from './delivery.ts';

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

  /** Waits for a valid lease and returns it: a sender without one could overwrite what its successor wrote. */
  async mayAct(): Promise<Holding['lease']> {
    for (;;) {
      if (this.#holding?.lease.valid) return this.#holding.lease;
      if (this.#stopped) throw new Stopped();
      const waits = [this.#changed.promise];
      if (this.#holding) waits.push(this.#holding.lease.proven());
      await Promise.race(waits);
    }
  }

  /** Before each write: waits for a valid lease, and throws SlotChangedHands when it is another than `begun` was under. */
  async stillActs(begun: Holding['lease']): Promise<void> {
    if ((await this.mayAct()) !== begun) throw new SlotChangedHands();
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
