// One run of chaos: writers write, faults strike, and in the end everything must be as the WAL says.
import { setTimeout as pause } from 'node:timers/promises';
import { type Lsn, parseLsn } from '../../src/postgres/lsn.ts';
import { filterOf } from '../../src/shard.ts';
import { Dice } from '../support/dice.ts';
import { judgeCounters } from './counters.ts';
import { FAULTS } from './faults.ts';
import { deadLetters, judgeAcknowledged, judgeFinalState, judgeOwners, judgeRecords, judgeVersions } from './judge.ts';
import { WalOracle } from './oracle.ts';
import { writeTrace } from './trace.ts';
import { writer } from './workload.ts';
import { ask, createWorld, shardsOf, type World } from './world.ts';

export interface ChaosPlan {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly string[];
  say(line: string): void;
}

export interface ChaosReport {
  readonly violations: string[];
  /** Kind of fault → how often it struck and hit something. */
  readonly strikes: ReadonlyMap<string, number>;
  readonly summary: Readonly<Record<string, number>>;
}

const WRITERS = 4;
const STALLED_MS = 120_000;

export async function runChaos({ seed, seconds, faults, say }: ChaosPlan): Promise<ChaosReport> {
  const dice = new Dice(seed, 0);
  const deletes = dice.chance(50) ? 'deactivate' : 'delete';
  const batchSize = dice.pick([1, 16]);
  const world = await createWorld(deletes, batchSize, dice.pick([1, 2, 4]));
  const oracle = new WalOracle(deletes);
  const violations: string[] = [];
  const strikes = new Map(faults.map((kind) => [kind, 0]));
  const writing = new AbortController();
  const watching = new AbortController();
  try {
    await oracle.create(world.db);
    for (const connector of world.connectors) connector.start();
    const passed = watchAcknowledged(world, watching.signal);
    const drained = drainUntil(oracle, world, watching.signal);
    const writers = Array.from({ length: WRITERS }, (_, n) =>
      writer(world.config, new Dice(seed, n + 1), writing.signal),
    );
    say(
      `Seed ${seed}: ${seconds} s, ${faults.length} kinds of faults, FHIR_DELETE=${deletes}, FHIR_BATCH_SIZE=${batchSize}, SHARD_COUNT=${world.shards} at first.`,
    );

    const until = performance.now() + seconds * 1000;
    let deck: string[] = [];
    while (performance.now() < until) {
      if (deck.length === 0) deck = dice.shuffled(faults);
      const kind = deck.pop() ?? '';
      say(`  ${Math.round((until - performance.now()) / 1000)} s left: ${kind}`);
      try {
        const hits = (await FAULTS[kind]?.(world, dice)) ?? 0;
        if (hits > 0) strikes.set(kind, (strikes.get(kind) ?? 0) + 1);
      } catch (error) {
        violations.push(`${kind}: ${(error as Error).message}`);
      }
      await pause(dice.int(200, 3000));
    }
    writing.abort();
    await Promise.all(writers);
    say('All faults are over; waiting until everything is delivered.');
    await settle(world, violations);
    const dead = await deadLetters(world);
    const sent = [...world.fhir.writes];
    await replayDeadLetters(world, violations);
    watching.abort();
    await drained;
    await oracle.drain(world.db);

    violations.push(...judgeVersions(oracle, sent, dead));
    violations.push(...judgeOwners(world.fhir.writes));
    violations.push(...judgeFinalState(oracle, world.fhir.resources));
    violations.push(...(await judgeRecords(world)));
    violations.push(...(await judgeCounters(world)));
    violations.push(...judgeAcknowledged(oracle, await passed));
    if (batchSize > 1 && world.fhir.bundles === 0) violations.push('Nothing went in a Bundle.');
    for (const connector of world.connectors)
      violations.push(...connector.ownEnds.map((end) => `A connector ended by itself: ${end}`));
    await Promise.all(world.connectors.map((connector) => connector.stop('SIGTERM')));
    if (violations.length > 0) say(`What happened: ${await writeTrace(seed, violations, oracle, world)}`);
    return {
      violations,
      strikes,
      summary: {
        transactions: oracle.commits.size,
        'commits that touch': oracle.touching,
        changes: oracle.changes.length,
        versions: sent.length,
        Bundles: world.fhir.bundles,
        'dead letters': dead.size,
        'starts of connectors': world.connectors.reduce((sum, { starts }) => sum + starts, 0),
      },
    };
  } finally {
    writing.abort();
    watching.abort();
    await world.stop();
  }
}

async function drainUntil(oracle: WalOracle, { db }: World, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    // PostgreSQL may be away, and what was peeked at is only let go of afterwards.
    await oracle.drain(db).catch((error: Error) => {
      if (error.message.startsWith('The workload')) throw error;
    });
    await pause(100);
  }
}

/** txid → the highest confirmed position of a shard's slot that was seen while one of the shard's rows was unprocessed. */
async function watchAcknowledged(world: World, signal: AbortSignal): Promise<ReadonlyMap<number, Lsn>> {
  const { db } = world;
  const passed = new Map<number, Lsn>();
  const caughtUp = async (slot: string) =>
    (await db.query('SELECT FROM fhir_slot WHERE slot_name = $1 AND caught_up_at IS NOT NULL', [slot])).rowCount === 1;
  while (!signal.aborted) {
    for (const { slot, ...shard } of shardsOf(world)) {
      try {
        // The position first: what is unprocessed afterwards was unprocessed then. A new slot begins behind what is being
        // caught up with, which is another matter.
        if (!(await caughtUp(slot))) continue;
        const position = await db.query(
          'SELECT confirmed_flush_lsn AS lsn FROM pg_replication_slots WHERE slot_name = $1',
          [slot],
        );
        const unfinished = await db.query(
          `SELECT DISTINCT txid FROM fhir_outbox WHERE NOT processed AND ${filterOf(shard)}`,
        );
        const lsn = position.rows[0]?.lsn;
        if (!lsn || !(await caughtUp(slot))) continue;
        const confirmed = parseLsn(lsn);
        for (const { txid } of unfinished.rows)
          if (confirmed > (passed.get(Number(txid)) ?? 0n)) passed.set(Number(txid), confirmed);
      } catch {
        // PostgreSQL is away.
      }
    }
    await pause(30);
  }
  return passed;
}

/** However large the backlog and slow the machine: it fails only when nothing is finished any more. */
async function settle(world: World, violations: string[]): Promise<void> {
  let fewest = Number.POSITIVE_INFINITY;
  let deadline = 0;
  for (;;) {
    const [row] = await ask<{ n: number }>(world.db, 'SELECT count(*)::int AS n FROM fhir_outbox WHERE NOT processed');
    const unprocessed = row?.n ?? 0;
    if (unprocessed === 0) return;
    if (unprocessed < fewest) {
      fewest = unprocessed;
      deadline = performance.now() + STALLED_MS;
    }
    if (performance.now() > deadline) {
      violations.push(
        `${unprocessed} outbox rows are unprocessed, and for ${STALLED_MS / 1000} s no more was finished.`,
      );
      return;
    }
    await pause(200);
  }
}

/** As an operator would, row by row: who was refused because of another one goes after that one. */
async function replayDeadLetters(world: World, violations: string[]): Promise<void> {
  for (let rounds = 0; rounds < 5; rounds += 1) {
    const replayed = await ask(
      world.db,
      'SELECT fhir_emit(source_table, ARRAY[source_id::int]) FROM (SELECT DISTINCT source_table, source_id FROM fhir_dlq WHERE resolved_at IS NULL) AS d',
    );
    if (replayed.length === 0) return;
    await settle(world, violations);
  }
}
