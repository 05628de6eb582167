// The proof that the slot is still ours: who cannot show a fresh one sends nothing.
import { setInterval } from 'node:timers/promises';
import type pg from 'pg';
import { SIGN_OF_LIFE_MS, WAL_SENDER_TIMEOUT_MS } from '../stream/connection.ts';
import { HEARTBEAT_PREFIX } from '../stream/messages.ts';

/**
 * A process that was stopped (SIGSTOP, a paused machine) for longer than wal_sender_timeout has lost the slot to its
 * successor without knowing. So a proof is dated from when it was asked for, and it lasts no longer than the server
 * waits for a silent client. Both clocks count: the monotonic one stands still while a machine is suspended.
 */
export class SlotLease {
  #provenAt = { monotonic: Number.NEGATIVE_INFINITY, wall: 0 };
  #revoked = false;
  #waiting: (() => void)[] = [];

  get valid(): boolean {
    return (
      !this.#revoked &&
      performance.now() - this.#provenAt.monotonic < WAL_SENDER_TIMEOUT_MS &&
      Math.abs(Date.now() - this.#provenAt.wall) < WAL_SENDER_TIMEOUT_MS
    );
  }

  /** Resolves once the lease is valid; never, if it is revoked (its holder then waits for the next lease). */
  async proven(): Promise<void> {
    while (!this.valid) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** The connection is gone: from now on another connector may hold the slot. */
  revoke(): void {
    this.#revoked = true;
  }

  /**
   * Renews the lease until `signal` is aborted, and writes the heartbeat in the same round trip: a message in the WAL that
   * comes back through the slot, so that an idle slot moves on and the way through it is known to work.
   * Throws when the slot is no longer ours or the control connection fails.
   */
  async renew(control: pg.Client, slot: string, walsenderPid: number, signal: AbortSignal): Promise<void> {
    await this.#prove(control, slot, walsenderPid);
    for await (const _ of setInterval(SIGN_OF_LIFE_MS, undefined, { signal }))
      await this.#prove(control, slot, walsenderPid);
  }

  async #prove(control: pg.Client, slot: string, walsenderPid: number): Promise<void> {
    const asked = { monotonic: performance.now(), wall: Date.now() };
    const { rows } = await control.query<{ active_pid: number | null; ending: boolean }>(
      `SELECT (SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1) AS active_pid,
              EXISTS (SELECT FROM pg_stat_activity WHERE pid = $4 AND wait_event = 'ClientWrite') AS ending,
              pg_logical_emit_message(false, $2, $3)`,
      [slot, HEARTBEAT_PREFIX, String(asked.wall), walsenderPid],
    );
    if (rows[0]?.active_pid !== walsenderPid)
      throw new Error('The replication slot is no longer held by this connection.');
    // A walsender that was told to end (an invalidated slot, pg_terminate_backend) first writes its last words, and for
    // that it waits, which it never does while it streams. While our socket is paused it would wait for as long as the
    // FHIR server is away, keep the slot, and with it the checkpoint that gives the slot up: pg_wal would grow without end.
    if (rows[0].ending) throw new Error('PostgreSQL ends the replication connection.');
    this.#provenAt = asked;
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
