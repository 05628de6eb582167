// The WAL of a benchmark: how much of it some work writes, and marks in it up to which a slot is read.
import { HEARTBEAT_PREFIX } from '../src/replication/stream/messages.ts';
import type { BenchDatabase } from './arena.ts';

/** In bytes, with what others write meanwhile. */
export async function walOf(database: BenchDatabase, work: () => Promise<unknown>): Promise<number> {
  const before = await position(database);
  await work();
  return (await position(database)) - before;
}

/** Comes out of every slot as a heartbeat with this content, behind all that was committed before. */
export async function mark({ pool }: BenchDatabase, content: string): Promise<void> {
  await pool.query('SELECT pg_logical_emit_message(false, $1, $2)', [HEARTBEAT_PREFIX, content]);
  // A slot hands out only what is on the disk; this is a commit, and waits for that.
  await pool.query("SELECT pg_logical_emit_message(true, 'bench', '')");
}

/** Bytes since the cluster began. */
async function position({ pool }: BenchDatabase): Promise<number> {
  const { rows } = await pool.query<{ at: string }>(`SELECT pg_current_wal_insert_lsn() - '0/0' AS at`);
  return Number(rows[0]?.at);
}
