// A backlog of many patients is drained by one connector, and then one that is four times as large by four that share it: a machine has
// its better and its worse moments, so both take the same time. Each sends few requests at once; what they share is the waiting
// for the FHIR server.
//
// All stream, and V8 has compiled what runs often, when the first transaction of the backlog is committed, which starts the clock. The others
// follow within it: each changes every patient, for this is many times as fast as a transaction for each change.
import type { Arena, BenchDatabase } from '../arena.ts';
import { now } from '../clock.ts';
import { Connector } from '../connector.ts';
import { allProcessed, insertPatients, updateOneByOne } from '../patients.ts';

const COUNT = 4;
/** FHIR_CONCURRENCY of each. */
const WIDTH = 4;
const LATENCY_MS = 10;
const PATIENTS = 1000;
/** Changes of each connector that go first, to a sink that answers at once, and do not count. */
const WARM_UP = 4000;

export interface ShardsOptions {
  /** Of the backlog, for each connector that drains it; each transaction changes every patient. */
  readonly transactions: number;
}

export interface Drained {
  /** PUTs a second, from the first commit until the last record is committed. */
  readonly rate: number;
  /** CPU milliseconds for each: of the connectors together, of PostgreSQL with the backlog's commits, and of the sink. */
  readonly cpuMs: number;
  readonly serverCpuMs: number;
  readonly sinkCpuMs: number;
  /** The most of each connector, of all together, in MB (10^6 bytes). */
  readonly memoryMB: number;
}

export interface Shards {
  readonly one: Drained;
  readonly four: Drained;
}

/** How many times as fast the four are. */
export function multipleOf({ one, four }: Shards): number {
  return four.rate / one.rate;
}

export async function shards(arena: Arena, { transactions }: ShardsOptions): Promise<Shards> {
  return { one: await drained(arena, 1, transactions), four: await drained(arena, COUNT, COUNT * transactions) };
}

async function drained(arena: Arena, count: number, transactions: number): Promise<Drained> {
  const database = await arena.database();
  const { sink } = arena;
  const connectors: Connector[] = [];
  const total = (part: 'cpuSeconds' | 'peakMB') => connectors.reduce((sum, connector) => sum + connector[part], 0);
  const used = () => ({ cpuMs: total('cpuSeconds'), serverCpuMs: arena.serverCpuSeconds, sinkCpuMs: sink.cpuSeconds });
  try {
    sink.configure({ latencyMs: 0 });
    for (let index = 0; index < count; index += 1)
      connectors.push(Connector.start(database, sink.url, WIDTH, { shard: { index, count } }));
    await Promise.all(connectors.map((connector) => connector.streaming()));
    await insertPatients(database, PATIENTS);
    await allProcessed(database);
    const first = count * WARM_UP;
    sink.reset();
    await updateOneByOne(database, PATIENTS, first);
    await allProcessed(database);

    sink.configure({ latencyMs: LATENCY_MS });
    const before = used();
    const startedAt = await commitBacklog(database, first, transactions);
    await allProcessed(database);
    const seconds = (now() - startedAt) / 1000;
    const after = used();
    const changes = transactions * PATIENTS;
    await checkArrivals(arena, first + changes);
    const each = (part: keyof typeof after) => ((after[part] - before[part]) * 1000) / changes;
    return {
      rate: changes / seconds,
      cpuMs: each('cpuMs'),
      serverCpuMs: each('serverCpuMs'),
      sinkCpuMs: each('sinkCpuMs'),
      memoryMB: total('peakMB'),
    };
  } finally {
    await Promise.all(connectors.map((connector) => connector.stop()));
    await database.drop();
  }
}

/** The phones go on behind `last`. Returns when the first transaction was about to be committed. */
async function commitBacklog({ pool }: BenchDatabase, last: number, transactions: number): Promise<number> {
  const client = await pool.connect();
  let startedAt: number | undefined;
  try {
    for (let n = 0; n < transactions; n += 1) {
      await client.query('BEGIN');
      await client.query(`UPDATE patient SET phone_number = ${last + n * PATIENTS} + id`);
      startedAt ??= now();
      await client.query('COMMIT');
    }
  } finally {
    client.release();
  }
  if (startedAt === undefined) throw new Error('A backlog has one transaction at least.');
  return startedAt;
}

/** Throws unless each change of each patient has arrived, once and in order. */
async function checkArrivals({ sink }: Arena, changes: number): Promise<void> {
  const { puts, duplicates, misordered } = await sink.report();
  if (misordered > 0) throw new Error(`${misordered} changes arrived after a newer one of the same patient.`);
  if (duplicates > 0) throw new Error(`${duplicates} changes arrived a second time.`);
  // No two changes have the same number, and those of a patient ascended: as many as there are can only be all.
  if (puts !== changes) throw new Error(`${puts} changes arrived, and ${changes} were made.`);
}
