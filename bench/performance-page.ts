// What docs/performance.md says of the recorded runs, each part as Markdown; test/docs/performance.test.ts puts them there.

import { figure, middle } from './cells.ts';
import type { Bars } from './chart.ts';
import type { Machine } from './machine.ts';
import type { Shares } from './profile.ts';
import { cellsOf, type Result, short } from './report.ts';
import type { Measurements } from './run.ts';
import type { DatabaseCost } from './workloads/database-cost.ts';

/** What `npm run bench -- --json FILE` writes. */
export interface Recording {
  readonly machine: Machine;
  readonly runs: readonly Measurements[];
}

type Row = readonly string[];

export function machineOf({ machine, runs }: Recording): string {
  const { cpu, cores, memoryGB, node, at, load } = machine;
  const times = runs.length === 1 ? 'One run' : `The median of ${runs.length} runs`;
  return `${times}, ${at}: ${cpu}, ${cores} cores for PostgreSQL, connector, FHIR server and benchmark together, ${memoryGB} GB, Node ${node.slice(1)}; load average before: ${load}.`;
}

export const TARGET_HEAD: Row = ['', 'What', 'Target', 'Measured', 'From – to'];

export function targetRows(results: readonly Result[]): Row[] {
  return results.map((result) => {
    const spread = `${short(Math.min(...result.each))} – ${short(Math.max(...result.each))}`;
    return [...cellsOf(result), spread];
  });
}

export const RATE_HEAD: Row = ['', 'A second', 'CPU of each, ms', 'Memory at the most, MB'];

/** What each row of the rates is measured by. */
const RATES: readonly (readonly [string, (run: Measurements) => Rate | undefined])[] = [
  ['Decoding alone', ({ drain0 }) => drain0?.decode],
  ['PUTs alone, 32 wide, sink 0 ms', ({ drain0 }) => drain0?.put],
  ['The connector, 32 wide, sink 0 ms', ({ drain0 }) => drain0],
  ['The same, with its start', ({ drain0 }) => drain0 && { rate: drain0.rateFromStart, cpuMs: drain0.cpuMsFromStart }],
  ['pg-transactional-outbox, plain, sink 0 ms', ({ peerPlain }) => peerPlain],
  ['pg-transactional-outbox, by segment, sink 0 ms', ({ peerSegment }) => peerSegment],
  ['PUTs alone, 32 wide, sink 10 ms', ({ drain10 }) => drain10?.put],
  ['The connector, 32 wide, sink 10 ms', ({ drain10 }) => drain10],
  ['The connector, 256 wide, sink 50 ms', ({ drain50 }) => drain50],
  ['100,000 rows in one transaction', ({ bulk }) => bulk],
  ['1,000,000 rows in one transaction', ({ million }) => million],
  ['One patient, a thousand changes', ({ hot }) => hot],
  ['What waited for a server that was away for a minute', ({ outage }) => outage],
];

interface Rate {
  readonly rate: number;
  readonly cpuMs?: number;
  readonly peakMB?: number;
}

export function rateRows({ runs }: Recording): Row[] {
  return RATES.map(([what, read]): Row => {
    const of = (part: keyof Rate) => figure(middle(runs, (run) => read(run)?.[part]));
    return [what, of('rate'), of('cpuMs'), of('peakMB')];
  }).filter(([, rate]) => rate !== '');
}

export const LATENCY_HEAD: Row = ['', 'p50, ms', 'p99, ms'];

export function latencyRows({ runs }: Recording): Row[] {
  const rows = (rate: string, read: (run: Measurements) => Measurements['latency50']): Row[] => {
    const part = (what: string, of: 'commitToPut' | 'ofWhichCommit' | 'barePut'): Row => [
      `${what}, ${rate}`,
      figure(middle(runs, (run) => read(run)?.[of].p50)),
      figure(middle(runs, (run) => read(run)?.[of].p99)),
    ];
    return [
      part('From sending COMMIT to the arrival of the PUT', 'commitToPut'),
      part('Of which the commit itself', 'ofWhichCommit'),
      part('A PUT alone, at the same moments', 'barePut'),
    ];
  };
  return [...rows('50 a second', (run) => run.latency50), ...rows('500 a second', (run) => run.latency500)].filter(
    ([, p50]) => p50 !== '',
  );
}

export const TRIGGER_HEAD: Row = ['Triggers', 'Single-row updates a second, 4 clients', 'One update of all rows, s'];

export function triggerRows({ runs }: Recording): Row[] {
  const row = (what: string, variant: 'none' | 'copy' | 'ours'): Row => [
    what,
    figure(middle(runs, (run) => run.triggers?.[variant].rate)),
    figure(middle(runs, (run) => run.triggers?.[variant].bulkSeconds)),
  ];
  return [row('None', 'none'), row('A plain copy of the row, with NOTIFY', 'copy'), row('These', 'ours')];
}

export const COST_HEAD: Row = ['For each change of one patient', ''];

export function costRows({ runs }: Recording): Row[] {
  const row = (what: string, read: (cost: DatabaseCost) => number): Row => [
    what,
    figure(middle(runs, ({ cost }) => cost && read(cost))),
  ];
  const dead = (cost: DatabaseCost) => Object.values(cost.versions).reduce((sum, table) => sum + table.dead, 0);
  return [
    row('WAL of the UPDATE and its commit alone, bytes', (cost) => cost.changeWal),
    row('WAL that the trigger adds (revision and outbox row), bytes', (cost) => cost.eventWal),
    row('WAL of the connector’s records, bytes', (cost) => cost.recordWal),
    row('Row versions that vacuum finds, of all tables of the connector', dead),
    row('Of which in fhir_outbox', (cost) => cost.versions.fhir_outbox.dead),
  ];
}

export const PROFILE_HEAD: Row = ['Whose code', 'Share of the time'];

/** What is less than a hundredth is one line. */
export function profileRows(shares: Shares): Row[] {
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const large = Object.entries(shares).filter(([, share]) => share >= 0.01);
  const rest = Object.values(shares).reduce((sum, share) => (share < 0.01 ? sum + share : sum), 0);
  return [...large.map(([owner, share]) => [owner, percent(share)]), ['All others', percent(rest)]];
}

/** The rates that have a floor or a peer: of what was measured. */
export function barsOf({ runs }: Recording): Bars {
  const of = (read: (run: Measurements) => number | undefined) => middle(runs, read) ?? null;
  const both = (drain: Measurements['drain0']) => drain && 1 / (1 / drain.decode.rate + 1 / drain.put.rate);
  const groups = [
    {
      name: 'One row a transaction, sink 0 ms',
      values: [
        of((r) => both(r.drain0)),
        of((r) => r.drain0?.rate),
        of((r) => r.peerPlain && r.peerSegment && Math.max(r.peerPlain.rate, r.peerSegment.rate)),
      ],
    },
    {
      name: 'One row a transaction, sink 10 ms',
      values: [of((r) => r.drain10?.put.rate), of((r) => r.drain10?.rate), null],
    },
    {
      name: 'Many rows in one transaction, sink 0 ms',
      values: [of((r) => both(r.drain0)), of((r) => r.bulk?.rate), null],
    },
  ].filter(({ values: [, connector] }) => connector !== null);
  const series = ['Floor: decoding and PUTs alone', 'The connector', 'pg-transactional-outbox'];
  return {
    groups: groups.map(({ name }) => name),
    series: series.map((name, at) => ({ name, values: groups.map(({ values }) => values[at] ?? null) })),
  };
}
