// One run of the benchmark: every workload, in one PostgreSQL and with one sink; what is compared several times, in turns.
import { Arena } from './arena.ts';
import { type Bytes, bytes } from './workloads/bytes.ts';
import { type DatabaseCost, databaseCost } from './workloads/database-cost.ts';
import { type Drain, drain, shareOfFloors } from './workloads/drain.ts';
import { type HotPatient, hotPatient } from './workloads/hot-patient.ts';
import { type LargeTransaction, largeTransaction } from './workloads/large-transaction.ts';
import { type Latency, latency } from './workloads/latency.ts';
import { type Outage, outage } from './workloads/outage.ts';
import { type Peer, peer } from './workloads/peer.ts';
import { type Readers, readers } from './workloads/readers.ts';
import { multipleOf, type Shards, shards } from './workloads/shards.ts';
import { type Takeover, takeover } from './workloads/takeover.ts';
import { type Triggers, triggers } from './workloads/triggers.ts';
import { type Upkeep, upkeep } from './workloads/upkeep.ts';

/** What a run measured; each form leaves some out. */
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
  readonly takeover?: Takeover;
  readonly triggers?: Triggers;
  readonly cost?: DatabaseCost;
  readonly readers?: Readers;
  readonly bytes?: Bytes;
  readonly upkeep?: Upkeep;
  readonly shards?: Shards;
}

type Workload = keyof Measurements;
type Figures = NonNullable<Measurements[Workload]>;
type Plan = { readonly [W in Workload]?: (arena: Arena) => Promise<NonNullable<Measurements[W]>> };

/** Measured so many times, in turns: a machine has its better and its worse moments, and what is compared meets the same ones. */
interface Turns {
  readonly rounds: number;
  readonly plan: Plan;
}

const SHORT: readonly Turns[] = [
  {
    rounds: 1,
    plan: {
      drain0: (arena) => drain(arena, { transactions: 8000, latencyMs: 0, width: 32 }),
      peerPlain: (arena) => peer(arena, { transactions: 3000, latencyMs: 0, strategy: 'plain', mostSeconds: 10 }),
      peerSegment: (arena) => peer(arena, { transactions: 3000, latencyMs: 0, strategy: 'segment', mostSeconds: 10 }),
      drain10: (arena) => drain(arena, { transactions: 8000, latencyMs: 10, width: 32 }),
      latency50: (arena) => latency(arena, 50, 10),
      bulk: (arena) => largeTransaction(arena, 10_000, true),
      triggers: (arena) => triggers(arena, { rounds: 3, seconds: 2, patients: 10_000 }),
      shards: (arena) => shards(arena, { transactions: 1 }),
    },
  },
];

const WHOLE: readonly Turns[] = [
  {
    rounds: 3,
    plan: {
      drain0: (arena) => drain(arena, { transactions: 20_000, latencyMs: 0, width: 32 }),
      peerPlain: (arena) => peer(arena, { transactions: 20_000, latencyMs: 0, strategy: 'plain' }),
      peerSegment: (arena) => peer(arena, { transactions: 20_000, latencyMs: 0, strategy: 'segment' }),
    },
  },
  { rounds: 3, plan: { drain10: (arena) => drain(arena, { transactions: 20_000, latencyMs: 10, width: 32 }) } },
  {
    rounds: 1,
    plan: {
      drain50: (arena) => drain(arena, { transactions: 40_000, latencyMs: 50, width: 256 }),
      latency50: (arena) => latency(arena, 50, 30),
      latency500: (arena) => latency(arena, 500, 30),
      bulk: (arena) => largeTransaction(arena, 100_000, true),
      hot: (arena) => hotPatient(arena, 1000),
      outage: (arena) => outage(arena, 60),
      takeover: (arena) => takeover(arena),
      triggers: (arena) => triggers(arena, { rounds: 5, seconds: 3, patients: 100_000 }),
      cost: (arena) => databaseCost(arena, 10_000),
      million: (arena) => largeTransaction(arena, 1_000_000, false),
    },
  },
];

/** For docs/scaling.md, and only when asked for: what a reader, a change and the upkeep cost the database, and what shards gain. */
const SCALING: readonly Turns[] = [
  {
    rounds: 1,
    plan: {
      readers: (arena) =>
        readers(arena, { changes: 40_000, seconds: 8, otherTransactions: 100_000, otherRows: 500_000 }),
      bytes: (arena) => bytes(arena, { patients: 100_000, changes: 12_000, batch: 1000, batches: 10 }),
      upkeep: (arena) => upkeep(arena, { rows: 1_000_000, old: 100_000, waiting: 10_000 }),
    },
  },
  { rounds: 3, plan: { shards: (arena) => shards(arena, { transactions: 2 }) } },
];

export interface RunOptions {
  readonly short: boolean;
  /** Only these; all but those for docs/scaling.md where it is undefined. */
  readonly only: readonly string[] | undefined;
  told(workload: string, figures: object): void;
}

/** Throws an Error that names the workloads where `only` asks for one that there is not. */
export async function run({ short, only, told }: RunOptions): Promise<Measurements> {
  const whole = only ? [...WHOLE, ...SCALING] : WHOLE;
  const all = short ? SHORT : whole;
  const names = all.flatMap(({ plan }) => Object.keys(plan));
  const unknown = only?.filter((name) => !names.includes(name)) ?? [];
  if (unknown.length > 0) {
    throw new Error(`There is no workload ${unknown.join(', ')}; there are ${names.join(', ')}.`);
  }
  const arena = await Arena.open();
  try {
    const measured = new Map<string, Figures[]>();
    for (const { rounds, plan } of all) {
      for (let round = 0; round < rounds; round += 1) {
        for (const [name, workload] of Object.entries(plan)) {
          if (only && !only.includes(name)) continue;
          const figures = await workload(arena);
          measured.set(name, [...(measured.get(name) ?? []), figures]);
          told(name, figures);
        }
      }
    }
    return Object.fromEntries([...measured].map(([name, rounds]) => [name, middleOf(rounds)]));
  } finally {
    await arena.close();
  }
}

/** The middle round, and the most memory of all. */
function middleOf(rounds: readonly Figures[]): Figures | undefined {
  const middle = rounds.toSorted((a, b) => judgedBy(a) - judgedBy(b))[rounds.length >> 1];
  if (!middle || !('peakMB' in middle)) return middle;
  return { ...middle, peakMB: Math.max(...rounds.flatMap((figures) => ('peakMB' in figures ? figures.peakMB : []))) };
}

function judgedBy(figures: Figures): number {
  if ('decode' in figures) return shareOfFloors(figures);
  if ('four' in figures) return multipleOf(figures);
  return 'rate' in figures ? figures.rate : 0;
}
