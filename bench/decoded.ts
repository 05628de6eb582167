// Reads what some work wrote to the WAL from a slot, several times over: the CPU that this takes PostgreSQL, and nothing else.
import { setTimeout as delay } from 'node:timers/promises';
import type { BenchDatabase } from './arena.ts';
import { type Read, startReading } from './reader.ts';
import { median } from './statistics.ts';
import { mark, walOf } from './wal.ts';

/** Over the same WAL. */
const ROUNDS = 3;

export interface Decoded {
  /** Bytes that `work` wrote. */
  readonly wal: number;
  /** The middle one of each publication's rounds. */
  readonly reads: readonly Read[];
}

/** Of a slot that is there before `work` and gone after it: each publication in turn reads the same WAL. */
export async function decoded(
  database: BenchDatabase,
  publications: readonly string[],
  work: () => Promise<void>,
): Promise<Decoded> {
  const { pool } = database;
  const slot = `bench_backlog_${database.name}`;
  await pool.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  const wal = await walOf(database, work);
  await mark(database, slot);
  const rounds = new Map<string, Read[]>(publications.map((publication) => [publication, []]));
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [publication, reads] of rounds) {
      const { done } = await startReading(database, { slot, publication, until: slot, acknowledge: false });
      reads.push(await done);
      await released(database, slot);
    }
  }
  await pool.query('SELECT pg_drop_replication_slot($1)', [slot]);
  return { wal, reads: [...rounds.values()].map(middle) };
}

/** A walsender ends some milliseconds after its connection. */
async function released({ pool }: BenchDatabase, slot: string): Promise<void> {
  for (;;) {
    const { rows } = await pool.query('SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active', [slot]);
    if (rows.length === 0) return;
    await delay(10);
  }
}

function middle(reads: readonly Read[]): Read {
  const cpu = median(reads.map((read) => read.cpuSeconds));
  const found = reads.find((read) => read.cpuSeconds === cpu);
  if (!found) throw new Error('Nothing was read.');
  return found;
}
