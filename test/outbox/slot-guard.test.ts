// Who may send: only who holds a valid lease, and only what was looked up under that lease.
import { describe, expect, it } from 'vitest';
import { SlotChangedHands, SlotGuard, Stopped } from '../../src/outbox/courier/slot-guard.ts';
import { deliveriesOf } from '../../src/outbox/delivery/delivery.ts';
import { parseEvent } from '../../src/outbox/delivery/event.ts';
import { type Lsn, parseLsn } from '../../src/postgres/lsn.ts';
import { outboxRow } from './rows.ts';

class Lease {
  valid: boolean;
  readonly #proof = Promise.withResolvers<void>();

  constructor(valid: boolean) {
    this.valid = valid;
  }

  proven(): Promise<void> {
    return this.#proof.promise;
  }

  prove(): void {
    this.valid = true;
    this.#proof.resolve();
  }
}

/** Whether the promise has settled by now, and how. */
async function now(promise: Promise<unknown>): Promise<unknown> {
  const turn = new Promise((resolve) => setImmediate(resolve, 'waiting'));
  return Promise.race([promise.catch((error: unknown) => error), turn]);
}

function deliveryEndingAt(endLsn: Lsn | null) {
  const [delivery] = deliveriesOf([parseEvent(outboxRow())], { committedAt: null, endLsn }, () => null);
  if (!delivery) throw new Error('One row makes one delivery.');
  return delivery;
}

describe('SlotGuard', () => {
  it('lets nobody begin before the slot was ever held, and everybody once it is', async () => {
    const guard = new SlotGuard();
    const acting = [guard.held(), guard.held()];
    expect(await now(Promise.race(acting))).toBe('waiting');
    const lease = new Lease(true);
    guard.hold({ lease, newAfter: null });
    expect(await Promise.all(acting)).toEqual([lease, lease]);
  });

  it('waits for the proof of a lease that is not valid yet', async () => {
    const guard = new SlotGuard();
    const lease = new Lease(false);
    guard.hold({ lease, newAfter: null });
    const acting = guard.held();
    expect(await now(acting)).toBe('waiting');
    lease.prove();
    expect(await now(acting)).toBe(lease);
  });

  it('waits for the next lease when the one it waits for is never proven', async () => {
    const guard = new SlotGuard();
    guard.hold({ lease: new Lease(false), newAfter: null });
    const acting = guard.held();
    expect(await now(acting)).toBe('waiting');
    const next = new Lease(true);
    guard.hold({ lease: next, newAfter: null });
    expect(await now(acting)).toBe(next);
  });

  it('waits on when the next lease is not valid either', async () => {
    const guard = new SlotGuard();
    guard.hold({ lease: new Lease(false), newAfter: null });
    const acting = guard.held();
    const next = new Lease(false);
    guard.hold({ lease: next, newAfter: null });
    expect(await now(acting)).toBe('waiting');
    next.prove();
    expect(await now(acting)).toBe(next);
  });

  it('tells those who wait that it was stopped', async () => {
    const guard = new SlotGuard();
    const waiting = guard.held();
    guard.stop();
    expect(await now(waiting)).toBeInstanceOf(Stopped);
    expect(await now(guard.held())).toBeInstanceOf(Stopped);
  });

  it('lets what began under a lease that still holds go on, even while it stops', () => {
    const guard = new SlotGuard();
    const lease = new Lease(true);
    guard.hold({ lease, newAfter: null });
    guard.stop();
    guard.mustHold(lease);
  });

  it('sends who began under a lease that is over back to look again', async () => {
    const guard = new SlotGuard();
    const before = new Lease(true);
    guard.hold({ lease: before, newAfter: null });
    await guard.act(before, async () => {
      before.valid = false;
      guard.hold({ lease: new Lease(true), newAfter: null });
      expect(() => guard.mustHold(before)).toThrow(SlotChangedHands);
    });
    await expect(guard.act(before, async () => undefined)).rejects.toThrow(SlotChangedHands);
  });

  it('is quiet once all that acted has ended, however it ended', async () => {
    const guard = new SlotGuard();
    const lease = new Lease(true);
    guard.hold({ lease, newAfter: null });
    expect(await now(guard.quiet(60_000))).toBe(undefined);
    const [one, other] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const acting = [guard.act(lease, () => one.promise), guard.act(lease, () => other.promise)];
    await now(Promise.all(acting));
    const quiet = guard.quiet(60_000);
    one.resolve();
    expect(await now(quiet)).toBe('waiting');
    other.reject(new Error('failed'));
    expect(await now(acting[1] ?? quiet)).toEqual(new Error('failed'));
    expect(await now(quiet)).toBe(undefined);
  });

  it('waits no longer than it is told for what never ends', async () => {
    const guard = new SlotGuard();
    const lease = new Lease(true);
    guard.hold({ lease, newAfter: null });
    void guard.act(lease, () => new Promise(() => undefined));
    await guard.quiet(10);
  });
});

describe('a delivery', () => {
  it('is new when its transaction ended after the slot became ours, and only then', () => {
    const guard = new SlotGuard();
    expect(guard.isNew(deliveryEndingAt(parseLsn('0/9')))).toBe(false);
    guard.hold({ lease: new Lease(true), newAfter: null });
    expect(guard.isNew(deliveryEndingAt(parseLsn('0/9')))).toBe(false);
    guard.hold({ lease: new Lease(true), newAfter: parseLsn('0/5') });
    expect(guard.isNew(deliveryEndingAt(parseLsn('0/4')))).toBe(false);
    expect(guard.isNew(deliveryEndingAt(parseLsn('0/5')))).toBe(false);
    expect(guard.isNew(deliveryEndingAt(parseLsn('0/6')))).toBe(true);
  });

  it('is never new when it was read from the table', () => {
    const guard = new SlotGuard();
    guard.hold({ lease: new Lease(true), newAfter: parseLsn('0/5') });
    expect(guard.isNew(deliveryEndingAt(null))).toBe(false);
  });
});
