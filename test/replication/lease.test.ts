// The proof that the slot is ours: dated from when it was asked for, void when old, when revoked, or when another holds the slot.
import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SlotLease } from '../../src/replication/slot/lease.ts';

/** PostgreSQL's answer to each proof, as far as the lease looks at it. */
function control(answer: () => Promise<number | null> | number | null): pg.Client {
  return {
    query: async () => ({ rows: [{ active_pid: await answer() }] }),
  } as unknown as pg.Client;
}

let stop: AbortController;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'performance'] });
  stop = new AbortController();
});

afterEach(() => {
  stop.abort();
  vi.useRealTimers();
});

function renew(lease: SlotLease, answer: () => Promise<number | null> | number | null): Promise<unknown> {
  return lease.renew(control(answer), 'slot', 42, stop.signal).catch((error: unknown) => error);
}

describe('SlotLease', () => {
  it('is not valid before its first proof', () => {
    expect(new SlotLease().valid).toBe(false);
  });

  it('is valid once PostgreSQL names our walsender as the reader of the slot', async () => {
    const lease = new SlotLease();
    void renew(lease, () => 42);
    await lease.proven();
    expect(lease.valid).toBe(true);
  });

  it('ends when nothing has proven it for as long as the server waits for a silent client', async () => {
    const lease = new SlotLease();
    void renew(lease, () => 42);
    await lease.proven();
    vi.advanceTimersByTime(10_000);
    expect(lease.valid).toBe(false);
  });

  it('counts the age of a proof from when it was asked for, not from its answer', async () => {
    const lease = new SlotLease();
    const answered = Promise.withResolvers<number>();
    void renew(lease, () => answered.promise);
    vi.advanceTimersByTime(9000);
    answered.resolve(42);
    await lease.proven();
    expect(lease.valid).toBe(true);
    vi.advanceTimersByTime(1000);
    expect(lease.valid).toBe(false);
  });

  it('ends by the wall clock too, for the other one stands still while a machine sleeps', async () => {
    const lease = new SlotLease();
    void renew(lease, () => 42);
    await lease.proven();
    vi.setSystemTime(Date.now() + 10_000);
    expect(lease.valid).toBe(false);
  });

  it.each([null, 41])('fails when the slot is read by %s', async (pid) => {
    const lease = new SlotLease();
    await expect(renew(lease, () => pid)).resolves.toMatchObject({
      message: 'The replication slot is no longer held by this connection.',
    });
    expect(lease.valid).toBe(false);
  });

  it('is never valid again once it was revoked, even by a proof that was on its way', async () => {
    const lease = new SlotLease();
    const answered = Promise.withResolvers<number>();
    void renew(lease, () => answered.promise);
    lease.revoke();
    answered.resolve(42);
    await answered.promise;
    await null;
    expect(lease.valid).toBe(false);
  });
});
