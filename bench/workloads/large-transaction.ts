// One transaction that changes many patients at once: how fast it is worked off, and what memory that takes.
import type { Arena } from '../arena.ts';
import { now } from '../clock.ts';
import { Connector } from '../connector.ts';
import { allProcessed, insertPatients, updateOneByOne } from '../patients.ts';
import { linkPatients } from './drain.ts';

/** Of the steady run before it: some seconds, in which V8's room for the young grows to what it is afterwards. */
const STEADY_TRANSACTIONS = 20_000;

export interface LargeTransaction {
  /** Rows a second, from the first PUT's arrival until the last record is committed. */
  readonly rate: number;
  /** The same of the second half of the PUTs, over that of the first. */
  readonly secondHalf: number;
  /** Resident memory at the most, and how much more that is than in the steady run before it, in MB. */
  readonly peakMB: number;
  readonly growthMB: number;
}

/** `update`: each of `rows` linked patients is updated; otherwise each is inserted. */
export async function largeTransaction(arena: Arena, rows: number, update: boolean): Promise<LargeTransaction> {
  const database = await arena.database();
  const { sink } = arena;
  sink.configure({ latencyMs: 0 });
  let connector: Connector | undefined;
  try {
    await linkPatients(arena, database, update ? rows : 2000);
    connector = Connector.start(database, sink.url, 32);
    await connector.streaming();
    await updateOneByOne(database, 2000, STEADY_TRANSACTIONS);
    await allProcessed(database);
    const before = connector.peakMB;
    const reached = sink.expect(rows, rows >> 1);
    const marked = sink.marked();
    if (update) await database.pool.query(`UPDATE patient SET phone_number = id::text`);
    else await insertPatients(database, rows, 2001);
    const halfAt = await marked;
    const { firstAt, lastAt } = await reached;
    await allProcessed(database);
    const endedAt = now();
    const { peakMB } = connector;
    return {
      rate: rows / ((endedAt - firstAt) / 1000),
      secondHalf: (halfAt - firstAt) / (lastAt - halfAt),
      peakMB,
      growthMB: peakMB - before,
    };
  } finally {
    await connector?.stop();
    await database.drop();
  }
}
