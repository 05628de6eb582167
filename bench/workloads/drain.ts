// A backlog of transactions that each update one patient is drained, beside the floors of the same run.
//
// Steadily: V8 compiles what runs often while it runs, and for some seconds that takes a good part of a small machine. So a
// third of the transactions goes first and does not count, as the floors have a first part that does not.
import type { Arena, BenchDatabase, Floor } from '../arena.ts';
import { now } from '../clock.ts';
import { Connector } from '../connector.ts';
import { allProcessed, insertPatients, updateOneByOne } from '../patients.ts';

const PATIENTS = 2000;
const FLOOR_SLOT = 'bench_floor';

export interface DrainOptions {
  /** That count. */
  readonly transactions: number;
  readonly latencyMs: number;
  readonly width: number;
  /** Folder for a CPU profile of the connector. */
  readonly profileTo?: string;
}

export interface Drain {
  /** Transactions a second, until the last record is committed. */
  readonly rate: number;
  /** The same with the first part, from the first PUT's arrival. */
  readonly rateFromStart: number;
  /** CPU milliseconds of the connector for each. */
  readonly cpuMs: number;
  /** The same with its start and the first part. */
  readonly cpuMsFromStart: number;
  /** Share of one core that it used while it drained. */
  readonly cores: number;
  readonly peakMB: number;
  /** From its start to the first PUT's arrival, in seconds. */
  readonly startSeconds: number;
  readonly put: Floor;
  readonly decode: Floor;
}

/** The rate as a share of what decoding and PUTs alone would make together: 1 / (1/decode + 1/PUT). */
export function shareOfFloors({ rate, put, decode }: Drain): number {
  return rate / put.rate + rate / decode.rate;
}

export async function drain(arena: Arena, { transactions, latencyMs, width, profileTo }: DrainOptions): Promise<Drain> {
  const database = await arena.database();
  const { sink } = arena;
  try {
    sink.configure({ latencyMs: 0 });
    await linkPatients(arena, database, PATIENTS);
    await database.pool.query(`SELECT pg_create_logical_replication_slot('${FLOOR_SLOT}', 'pgoutput')`);
    const first = transactions >> 1;
    const all = first + transactions;
    await updateOneByOne(database, PATIENTS, all);
    const decode = await arena.decodeFloor(database, FLOOR_SLOT, all);
    sink.configure({ latencyMs });
    const before = await arena.putFloor(width, transactions);

    const reached = sink.expect(all, first);
    const marked = sink.marked();
    const connector = Connector.start(database, sink.url, width, { profileTo });
    const beganAt = await marked;
    const cpuBefore = connector.cpuSeconds;
    const { firstAt } = await reached;
    await allProcessed(database);
    const endedAt = now();
    const seconds = (endedAt - beganAt) / 1000;
    const { cpuSeconds, peakMB } = connector;
    const cpuSteady = cpuSeconds - cpuBefore;
    const startSeconds = (firstAt - connector.startedAt) / 1000;
    await connector.stop();
    const report = await sink.report();
    if (report.puts !== all || report.duplicates > 0 || report.misordered > 0) {
      throw new Error(`The sink got ${JSON.stringify({ ...report, arrivals: undefined })}, not ${all} in order.`);
    }
    // On both sides of what they are compared with, for a machine has its better and its worse moments.
    const after = await arena.putFloor(width, transactions);
    const put = { rate: (before.rate + after.rate) / 2, cpuMs: (before.cpuMs + after.cpuMs) / 2 };
    return {
      rate: transactions / seconds,
      rateFromStart: all / ((endedAt - firstAt) / 1000),
      cpuMs: (cpuSteady * 1000) / transactions,
      cpuMsFromStart: (cpuSeconds * 1000) / all,
      cores: cpuSteady / seconds,
      peakMB,
      startSeconds,
      put,
      decode,
    };
  } finally {
    await database.drop();
  }
}

/** Inserts patients, and lets the connector make their resources, so that all later ones are updates of known ones. */
export async function linkPatients({ sink }: Arena, database: BenchDatabase, patients: number): Promise<void> {
  const connector = Connector.start(database, sink.url, 32);
  await connector.streaming();
  await insertPatients(database, patients);
  await allProcessed(database);
  await connector.stop();
}
