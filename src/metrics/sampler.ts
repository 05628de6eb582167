// Keeps the gauges up that only PostgreSQL knows, whether or not it answers.

import { setTimeout as delay } from 'node:timers/promises';
import { type Kysely, sql, type Transaction } from 'kysely';
import type { Logger } from 'pino';
import { errorCode } from '../postgres/errors.ts';
import type { Shard } from '../shard.ts';
import { deadLetterFacts, outboxFacts, slotFacts, triggersOffNow, verificationFacts } from './facts.ts';
import { DRIFT_KINDS, type Metrics } from './metrics.ts';

const INTERVAL_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 1_000;
// statement_timeout runs in the server; this one also ends the wait for a server that no longer answers at all. It is
// longer than the queries may take together, so that a slow backlog never hides a slot that was read.
const DEADLINE_MS = 7_000;

/**
 * Samples the gauges of `metrics` for the slot `slotName` and its shard's patients. While PostgreSQL cannot be asked, the slot's state is
 * `unknown`, the other gauges keep their last value (fhir_database_age_seconds tells how old it is), and one log line
 * tells of the change, but not after the very first sample; another one tells whenever more triggers are off than before.
 */
export function createSampler<DB>(
  db: Kysely<DB>,
  slotName: string,
  shard: Shard,
  metrics: Metrics,
  log: Pick<Logger, 'info' | 'warn'>,
) {
  let running: Promise<void> | undefined;
  let failing = false;
  /** A start that fails says itself why; what the gauges lack beside it would only hide that. */
  let starting = true;
  let triggersOff = 0;

  async function readOutbox(trx: Transaction<DB>): Promise<void> {
    const { unprocessed, oldestSeconds } = await outboxFacts(trx, shard);
    metrics.outboxUnprocessed.set(unprocessed);
    metrics.outboxLag.set(oldestSeconds);
  }

  async function readDeadLetters(trx: Transaction<DB>): Promise<void> {
    const { unresolved, oldestSeconds } = await deadLetterFacts(trx, shard);
    metrics.deadLetters.set(unresolved);
    metrics.deadLetterOldest.set(oldestSeconds);
  }

  async function readVerifications(trx: Transaction<DB>): Promise<void> {
    for (const { scope, finishedAt, drift } of await verificationFacts(trx)) {
      metrics.verifiedAt.set({ scope }, finishedAt.getTime() / 1000);
      for (const kind of DRIFT_KINDS) metrics.drift.set({ scope, kind }, drift[kind] ?? 0);
    }
  }

  async function readSlot(trx: Transaction<DB>): Promise<void> {
    const slot = await slotFacts(trx, slotName);
    metrics.slotState.set(slot.state);
    metrics.slotActive.set(slot.active ? 1 : 0);
    metrics.slotRetainedBytes.set(slot.retainedBytes);
    metrics.slotConfirmedLagBytes.set(slot.confirmedLagBytes ?? Number.NaN);
    metrics.slotSafeWalBytes.set(slot.safeWalBytes ?? Number.NaN);
  }

  async function readTriggers(trx: Transaction<DB>): Promise<void> {
    const now = await triggersOffNow(trx);
    metrics.triggersOff.set(now);
    if (now > triggersOff) log.warn(triggersOffSentence(now));
    triggersOff = now;
  }

  /** Each in its own transaction: a backlog too long to count in time must not hide the slot. */
  async function readAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const read of [readSlot, readTriggers, readOutbox, readDeadLetters, readVerifications]) {
      try {
        await db
          .transaction()
          .setAccessMode('read only')
          .execute(async (trx) => {
            await sql`SELECT set_config('statement_timeout', ${String(STATEMENT_TIMEOUT_MS)}, true)`.execute(trx);
            await read(trx);
          });
      } catch (error) {
        if (read === readSlot) metrics.slotState.set('unknown');
        failures.push(error);
      }
    }
    if (failures.length === 0) metrics.databaseTold();
    report(failures[0]);
  }

  function report(failure: unknown): void {
    const isFirst = starting;
    starting = false;
    if (failure !== undefined && isFirst) return;
    if (failure !== undefined && !failing) {
      // By code, never by message: PostgreSQL's messages quote values.
      log.warn(
        { code: errorCode(failure) },
        'metrics: PostgreSQL did not answer the gauge queries; the gauges keep their last values',
      );
    }
    if (failure === undefined && failing) log.info('metrics: PostgreSQL answers the gauge queries again');
    failing = failure !== undefined;
  }

  /** Samples all gauges once; never rejects. A sample still waiting for PostgreSQL is joined, not doubled. */
  async function sampleOnce(): Promise<void> {
    running ??= readAll().finally(() => {
      running = undefined;
    });
    const stopWaiting = new AbortController();
    const late = delay(DEADLINE_MS, true, { signal: stopWaiting.signal }).catch(() => false);
    if (await Promise.race([running.then(() => false), late])) {
      metrics.slotState.set('unknown');
      report(new Error(`no answer within ${DEADLINE_MS} ms`));
    }
    stopWaiting.abort();
  }

  return {
    sampleOnce,

    /** Samples every five seconds until `signal` aborts; resolves then. */
    async run(signal: AbortSignal): Promise<void> {
      while (!signal.aborted) {
        await sampleOnce();
        await delay(INTERVAL_MS, undefined, { signal }).catch(() => undefined);
      }
    },
  };
}

function triggersOffSentence(count: number): string {
  return count === 1
    ? '1 trigger is missing or disabled: what it would write is not seen. doctor names it.'
    : `${count} triggers are missing or disabled: what they would write is not seen. doctor names them.`;
}
