// The same drain by a package of the same kind: pg-transactional-outbox reads its own outbox table from a slot.
// https://github.com/Zehelein/pg-transactional-outbox
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DatabaseSetup } from 'pg-transactional-outbox';
import type { Arena, BenchDatabase } from '../arena.ts';
import { now } from '../clock.ts';
import { PATIENT } from '../patient.ts';
import { commitOneByOne } from '../patients.ts';
import type { PeerStrategy } from '../processes/peer.ts';
import { cpuSeconds, peakMB } from '../usage.ts';

const PATIENTS = 2000;

export interface PeerOptions {
  readonly transactions: number;
  readonly latencyMs: number;
  readonly strategy: PeerStrategy;
  /** After this time it is ended, done or not. */
  readonly mostSeconds?: number;
}

export interface Peer {
  /** Messages a second until the last PUT's arrival or, if extrapolated, until it was ended; a first third does not count. */
  readonly rate: number;
  readonly arrived: number;
  /** Not all arrived in time. */
  readonly extrapolated: boolean;
  /** CPU milliseconds of its process for each, without its start and the first third. */
  readonly cpuMs: number;
  /** The same with both. */
  readonly cpuMsFromStart: number;
  readonly peakMB: number;
  /** PUTs that came a second time, or after a newer one of the same patient. */
  readonly duplicates: number;
  readonly misordered: number;
}

export async function peer(
  arena: Arena,
  { transactions, latencyMs, strategy, mostSeconds = 60 }: PeerOptions,
): Promise<Peer> {
  const database = await arena.database({ migrated: false });
  const { sink } = arena;
  let listener: ChildProcess | undefined;
  try {
    const slot = await setUp(database);
    await writeMessages(database, transactions);
    sink.configure({ latencyMs });
    const first = Math.floor(transactions / 3);
    const reached = sink.expect(transactions, first);
    const marked = sink.marked();
    listener = start(database, slot, strategy, sink.url);
    const pid = listener.pid ?? Number.NaN;
    const cpuAtMark = marked.then(() => cpuSeconds(pid));
    const timeUp = new AbortController();
    await Promise.race([reached, ended(listener), delay(mostSeconds * 1000, undefined, { signal: timeUp.signal })]);
    timeUp.abort();
    const endedAt = now();
    const cpuAtEnd = cpuSeconds(pid);
    const peak = peakMB(pid);
    const { puts, duplicates, misordered, arrivals } = await sink.report();
    const arrived = puts - duplicates - misordered;
    if (arrived <= first)
      throw new Error(`The peer delivered ${arrived} in ${mostSeconds} s, too few to measure it by.`);
    const extrapolated = arrived < transactions;
    const last = extrapolated ? endedAt : (arrivals.at(-1)?.[1] ?? Number.NaN);
    return {
      rate: (arrivals.length - first - 1) / ((last - (arrivals[first]?.[1] ?? Number.NaN)) / 1000),
      arrived,
      extrapolated,
      cpuMs: ((cpuAtEnd - (await cpuAtMark)) * 1000) / (arrived - first),
      cpuMsFromStart: (cpuAtEnd * 1000) / arrived,
      peakMB: peak,
      duplicates,
      misordered,
    };
  } finally {
    await stop(listener);
    await released(database);
    await database.drop();
  }
}

/** By the package's own statements; returns the slot. */
async function setUp({ pool, name }: BenchDatabase): Promise<string> {
  const replicationSlot = `peer_${name}`;
  const config = {
    outboxOrInbox: 'outbox',
    database: name,
    schema: 'public',
    table: 'outbox',
    listenerRole: 'postgres',
    publication: 'pg_transactional_outbox_pub',
    replicationSlot,
  } as const;
  await pool.query(DatabaseSetup.dropAndCreateTable(config));
  await pool.query(DatabaseSetup.setupReplicationCore(config));
  await pool.query(DatabaseSetup.setupReplicationSlot(config));
  return replicationSlot;
}

/** Each in a transaction of its own. */
async function writeMessages(database: BenchDatabase, count: number): Promise<void> {
  // The ids are of this database: of another one's patients the sink may hold later states.
  await commitOneByOne(
    database,
    count,
    `INSERT INTO outbox (id, aggregate_type, aggregate_id, message_type, segment, payload)
     VALUES (gen_random_uuid(), 'patient', n % ${PATIENTS}, 'changed', n % ${PATIENTS},
             jsonb_build_object('patient', '${JSON.stringify(PATIENT)}'::jsonb, 'id', '${database.name}-' || n % ${PATIENTS}, 'phone', n::text))`,
  );
}

function start({ config }: BenchDatabase, slot: string, strategy: PeerStrategy, url: string): ChildProcess {
  const script = fileURLToPath(new URL('../processes/peer.ts', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(config), strategy, url], {
    env: { PATH: process.env.PATH, TRX_OUTBOX_DB_REPLICATION_SLOT: slot },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const kill = () => child.kill();
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  return child;
}

async function ended(child: ChildProcess): Promise<never> {
  const [code] = await once(child, 'exit');
  throw new Error(`The peer ended with ${code}.`);
}

async function stop(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill();
  await exited;
}

/** A server hears late, in the middle of decoding, that the reader of a slot is gone. */
async function released({ pool, name }: BenchDatabase): Promise<void> {
  for (;;) {
    const { rows } = await pool.query('SELECT FROM pg_replication_slots WHERE database = $1 AND active', [name]);
    if (rows.length === 0) return;
    await delay(20);
  }
}
