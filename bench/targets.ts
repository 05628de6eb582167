// What is promised of speed, each as a figure of one run: ratios to floors of the same run wherever there is a floor.
import type { Measurements } from './run.ts';
import { shareOfFloors } from './workloads/drain.ts';
import type { Peer } from './workloads/peer.ts';
import { multipleOf } from './workloads/shards.ts';

export interface Target {
  readonly id: string;
  readonly what: string;
  readonly bound: number;
  readonly better: 'more' | 'less';
  readonly unit?: string;
  /** Undefined when the run did not measure it. */
  measured(m: Measurements): number | undefined;
}

export const TARGETS: readonly Target[] = [
  {
    id: 'drain-floor',
    what: 'Drain, sink 0 ms, 32 wide: share of the floor 1 / (1/decode + 1/PUT)',
    bound: 0.4,
    better: 'more',
    measured: ({ drain0 }) => drain0 && shareOfFloors(drain0),
  },
  {
    id: 'drain-peer',
    what: 'Drain, sink 0 ms: times pg-transactional-outbox, the faster of its two ways',
    bound: 5,
    better: 'more',
    measured: ({ drain0, ...peers }) => against(peers, (peer) => drain0 && drain0.rate / peer.rate),
  },
  {
    id: 'drain-10ms',
    what: 'Drain, sink 10 ms, 32 wide: share of PUT alone',
    bound: 0.85,
    better: 'more',
    measured: ({ drain10 }) => drain10 && drain10.rate / drain10.put.rate,
  },
  {
    id: 'drain-wide',
    what: 'Drain, sink 50 ms, 256 wide: share of 256 / 50 ms, or of a core if that is more',
    bound: 0.8,
    better: 'more',
    // A core that is busy to nine tenths is all that one process can give; it counts as what is asked for.
    measured: ({ drain50 }) => drain50 && Math.max(drain50.rate / (256 / 0.05), drain50.cores * (0.8 / 0.9)),
  },
  {
    id: 'latency-50',
    what: 'COMMIT to PUT at 50/s, p99: over that of the commit itself + 3 × PUT alone + 3 ms',
    bound: 1,
    better: 'less',
    measured: ({ latency50 }) =>
      latency50 && latency50.commitToPut.p99 / (latency50.ofWhichCommit.p99 + 3 * latency50.barePut.p99 + 3),
  },
  {
    id: 'bulk',
    what: 'Many rows in one transaction: share of the drain rate',
    bound: 0.5,
    better: 'more',
    measured: ({ bulk, drain0 }) => bulk && drain0 && bulk.rate / drain0.rate,
  },
  {
    id: 'million-memory',
    what: '1,000,000 rows in one transaction: resident memory beyond the steady run',
    bound: 150,
    better: 'less',
    unit: 'MB',
    measured: ({ million }) => million?.growthMB,
  },
  {
    id: 'million-upkeep',
    what: '1,000,000 rows: rate of the second half over the first',
    bound: 0.9,
    better: 'more',
    measured: ({ million }) => million?.secondHalf,
  },
  {
    id: 'backlog-memory',
    what: 'Resident memory in a backlog, the most of all',
    bound: 250,
    better: 'less',
    unit: 'MB',
    measured: ({ drain0, drain10, outage }) =>
      drain0 && Math.max(drain0.peakMB, drain10?.peakMB ?? 0, outage?.peakMB ?? 0),
  },
  {
    id: 'cpu-peer',
    what: 'CPU of the connector for an event: share of pg-transactional-outbox’s, the faster of its two ways',
    bound: 0.25,
    better: 'less',
    measured: ({ drain0, ...peers }) => against(peers, (peer) => drain0 && drain0.cpuMs / peer.cpuMs),
  },
  {
    id: 'cpu-floor',
    what: 'CPU of the connector for an event: times that of decoding and PUT alone',
    bound: 4,
    better: 'less',
    measured: ({ drain0 }) => drain0 && drain0.cpuMs / (drain0.decode.cpuMs + drain0.put.cpuMs),
  },
  {
    id: 'cpu',
    what: 'CPU of the connector for an event, its start included',
    bound: 0.25,
    better: 'less',
    unit: 'ms',
    measured: ({ drain0 }) => drain0?.cpuMsFromStart,
  },
  {
    id: 'start',
    what: 'Start of the process to the first PUT, slot intact',
    bound: 1.5,
    better: 'less',
    unit: 's',
    measured: ({ drain0 }) => drain0?.startSeconds,
  },
  {
    id: 'takeover-sigterm',
    what: 'Takeover by a standby: SIGTERM to its first PUT of a change made after, the longest of three',
    bound: 1,
    better: 'less',
    unit: 's',
    measured: ({ takeover }) => takeover?.sigterm,
  },
  {
    id: 'takeover-sigkill',
    what: 'Takeover by a standby: SIGKILL to its first PUT of a change made after, the longest of three',
    bound: 1,
    better: 'less',
    unit: 's',
    measured: ({ takeover }) => takeover?.sigkill,
  },
  {
    id: 'takeover-cut',
    what: 'Takeover by a standby: network cut (wal_sender_timeout 10 s) to its first PUT of a change made after, the longest of three',
    bound: 15,
    better: 'less',
    unit: 's',
    measured: ({ takeover }) => takeover?.cut,
  },
  {
    id: 'trigger-none',
    what: 'Single-row updates with our triggers: share of those without any',
    bound: 0.55,
    better: 'more',
    measured: ({ triggers }) => triggers && triggers.ours.rate / triggers.none.rate,
  },
  {
    id: 'trigger-copy',
    what: 'Single-row updates with our triggers: over a plain row copy with NOTIFY',
    bound: 1,
    better: 'more',
    measured: ({ triggers }) => triggers && triggers.ours.rate / triggers.copy.rate,
  },
  {
    id: 'trigger-bulk',
    what: 'One update of many rows, seconds: over a plain row copy with NOTIFY',
    bound: 1.6,
    better: 'less',
    measured: ({ triggers }) => triggers && triggers.ours.bulkSeconds / triggers.copy.bulkSeconds,
  },
  {
    id: 'reader-filter',
    what: 'CPU of the walsender for a change, with the rows of every fourth patient: times that with all rows',
    bound: 1.5,
    better: 'less',
    measured: ({ readers }) => readers && readers.quarterCpuMs / readers.allCpuMs,
  },
  {
    id: 'gauges',
    what: 'Queries of the gauges, beside 1,000,000 processed rows',
    bound: 50,
    better: 'less',
    unit: 'ms',
    measured: ({ upkeep }) => upkeep?.gaugesMs,
  },
  {
    id: 'shards',
    what: 'Drain by four shards, sink 10 ms, each 4 wide: times the rate of one',
    bound: 3,
    better: 'more',
    measured: ({ shards }) => shards && multipleOf(shards),
  },
];

/** Rate and price are compared with one and the same of its two ways, the faster: no process has the best of both. */
function against(
  { peerPlain, peerSegment }: Pick<Measurements, 'peerPlain' | 'peerSegment'>,
  ratio: (peer: Peer) => number | undefined,
): number | undefined {
  return peerPlain && peerSegment && ratio(peerPlain.rate > peerSegment.rate ? peerPlain : peerSegment);
}

export function isMet({ bound, better }: Target, measured: number): boolean {
  return better === 'more' ? measured >= bound : measured <= bound;
}
