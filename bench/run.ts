// One run of the benchmark: every workload once, in one PostgreSQL and with one sink.
import { Arena } from './arena.ts';
import { type DatabaseCost, databaseCost } from './workloads/database-cost.ts';
import { type Drain, drain, drainInRounds } from './workloads/drain.ts';
import { type HotPatient, hotPatient } from './workloads/hot-patient.ts';
import { type LargeTransaction, largeTransaction } from './workloads/large-transaction.ts';
import { type Latency, latency } from './workloads/latency.ts';
import { type Outage, outage } from './workloads/outage.ts';
import { type Peer, peer } from './workloads/peer.ts';
import { type Triggers, triggers } from './workloads/triggers.ts';

/** What a run measured; a short one leaves some out. */
export interface Measurements {
  readonly drain0?: Drain;
  readonly drain10?: Drain;
  readonly drain50?: Drain;
  readonly latency50?: Latency;
  readonly latency500?: Latency;
  readonly bulk?: LargeTransaction;
  readonly million?: LargeTransaction;
  readonly hot?: HotPatient;
  readonly outage?: Outage;
  readonly peerPlain?: Peer;
  readonly peerSegment?: Peer;
  readonly triggers?: Triggers;
  readonly cost?: DatabaseCost;
}

type Workload = keyof Measurements;
type Plan = { readonly [W in Workload]?: (arena: Arena) => Promise<NonNullable<Measurements[W]>> };

const DRAIN_ROUNDS = 3;

// In this order: the peer at once after what is compared with it, for the machine changes its pace within minutes.

const SHORT: Plan = {
  drain0: (arena) => drain(arena, { transactions: 8000, latencyMs: 0, width: 32 }),
  peerPlain: (arena) => peer(arena, { transactions: 3000, latencyMs: 0, strategy: 'plain', mostSeconds: 10 }),
  peerSegment: (arena) => peer(arena, { transactions: 3000, latencyMs: 0, strategy: 'segment', mostSeconds: 10 }),
  drain10: (arena) => drain(arena, { transactions: 8000, latencyMs: 10, width: 32 }),
  latency50: (arena) => latency(arena, 50, 10),
  bulk: (arena) => largeTransaction(arena, 10_000, true),
  triggers: (arena) => triggers(arena, { rounds: 3, seconds: 2, patients: 10_000 }),
};

const WHOLE: Plan = {
  drain0: (arena) => drainInRounds(arena, { transactions: 20_000, latencyMs: 0, width: 32 }, DRAIN_ROUNDS),
  peerPlain: (arena) => peer(arena, { transactions: 20_000, latencyMs: 0, strategy: 'plain' }),
  peerSegment: (arena) => peer(arena, { transactions: 20_000, latencyMs: 0, strategy: 'segment' }),
  drain10: (arena) => drainInRounds(arena, { transactions: 20_000, latencyMs: 10, width: 32 }, DRAIN_ROUNDS),
  drain50: (arena) => drain(arena, { transactions: 40_000, latencyMs: 50, width: 256 }),
  latency50: (arena) => latency(arena, 50, 30),
  latency500: (arena) => latency(arena, 500, 30),
  bulk: (arena) => largeTransaction(arena, 100_000, true),
  hot: (arena) => hotPatient(arena, 1000),
  outage: (arena) => outage(arena, 60),
  triggers: (arena) => triggers(arena, { rounds: 5, seconds: 3, patients: 100_000 }),
  cost: (arena) => databaseCost(arena, 10_000),
  million: (arena) => largeTransaction(arena, 1_000_000, false),
};

export interface RunOptions {
  readonly short: boolean;
  /** Only these; all where it is undefined. */
  readonly only: readonly string[] | undefined;
  told(workload: string, figures: object): void;
}

/** Throws an Error that names the workloads where `only` asks for one that there is not. */
export async function run({ short, only, told }: RunOptions): Promise<Measurements> {
  const plan = short ? SHORT : WHOLE;
  const unknown = only?.filter((name) => !(name in plan)) ?? [];
  if (unknown.length > 0) {
    throw new Error(`There is no workload ${unknown.join(', ')}; there are ${Object.keys(plan).join(', ')}.`);
  }
  const arena = await Arena.open();
  try {
    const measured: Record<string, object> = {};
    for (const [name, workload] of Object.entries(plan)) {
      if (only && !only.includes(name)) continue;
      const figures = await workload(arena);
      measured[name] = figures;
      told(name, figures);
    }
    return measured as Measurements;
  } finally {
    await arena.close();
  }
}
