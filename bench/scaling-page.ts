// What docs/scaling.md says of the recorded runs, each part as Markdown: what was measured, and what a rate of changes needs by it.
import { figure, middle } from './cells.ts';
import type { Recording } from './performance-page.ts';
import type { Measurements } from './run.ts';
import { type Drained, multipleOf } from './workloads/shards.ts';

type Row = readonly string[];
type Read = (run: Measurements) => number | undefined;

export const MEASURED_HEAD: Row = ['Of', 'What', 'Measured'];

type Parts = readonly (readonly [what: string, read: Read])[];

/** By the heading of the first column. */
const MEASURED: Readonly<Record<string, Parts>> = {
  'One walsender, ms of CPU': [
    ['1,000 changes of a backlog, all rows', ({ readers }) => readers && 1000 * readers.allCpuMs],
    ['The same, every fourth patient’s rows', ({ readers }) => readers && 1000 * readers.quarterCpuMs],
    ['1,000 changes as they come, within a second, all rows', ({ readers }) => readers && 1000 * readers.liveAllCpuMs],
    ['The same, every fourth patient’s rows', ({ readers }) => readers && 1000 * readers.liveQuarterCpuMs],
    ['1 MB of the WAL of such a backlog, all rows', ({ readers }) => readers && 1000 / readers.mbPerCpuSecond],
    ['1 MB of WAL of other tables, transactions of one row', ({ readers }) => readers?.otherSmallCpuMs],
    ['1 MB of WAL of another table, one large transaction', ({ readers }) => readers?.otherLargeCpuMs],
    ['1 MB of WAL of another database of the server', ({ readers }) => readers?.elsewhereCpuMs],
  ],
  'One change, bytes': [
    ['WAL without triggers', ({ bytes }) => bytes?.alone.wal],
    ['WAL with the triggers', ({ bytes }) => bytes?.triggers.wal],
    ['WAL with the triggers, delivered and recorded', ({ bytes }) => bytes?.delivered.wal],
    ['WAL without triggers, each page for the first time', ({ bytes }) => bytes?.alone.walAfterCheckpoint],
    ['WAL with the triggers, each page for the first time', ({ bytes }) => bytes?.triggers.walAfterCheckpoint],
    ['WAL of all, each page for the first time', ({ bytes }) => bytes?.delivered.walAfterCheckpoint],
    ['WAL of vacuum and, after the retention, of the clean-up', upkeepWal],
    ['`fhir_outbox`, with indexes', ({ bytes }) => bytes && sizeOf(bytes.kept.fhir_outbox)],
    ['Of which the payload', ({ bytes }) => bytes?.payload],
    ['`fhir_processed_event`, with indexes', ({ bytes }) => bytes && sizeOf(bytes.kept.fhir_processed_event)],
  ],
  '1,000,000 processed rows': [
    ['All queries of the gauges, 10,000 rows waiting, ms', ({ upkeep }) => upkeep?.gaugesMs],
    ['`status`, from its start to its end, s', ({ upkeep }) => upkeep?.statusSeconds],
    ['Old rows that the clean-up removes a second, each with its event', ({ upkeep }) => upkeep?.removedPerSecond],
    ['VACUUM of both tables after 100,000 rows were removed, s', ({ upkeep }) => upkeep?.vacuumSeconds],
    ['Both tables before that, MB', ({ upkeep }) => upkeep?.beforeMB],
    ['Both tables when 100,000 other rows have come, MB', ({ upkeep }) => upkeep?.refilledMB],
  ],
};

export function measuredRows({ runs }: Recording): Row[] {
  return Object.entries(MEASURED).flatMap(([of, parts]) =>
    parts.map(([what, read], at): Row => [at === 0 ? of : '', what, figure(middle(runs, read))]),
  );
}

export const SHARDS_HEAD: Row = [
  '',
  'A second',
  'Cores: connectors',
  'PostgreSQL',
  'FHIR server',
  'Memory of the connectors, MB',
];

/** Of the record of the shards. */
export function shardRows({ runs }: Recording): Row[] {
  const row = (what: string, of: 'one' | 'four'): Row => {
    const each = (read: (drained: Drained) => number) =>
      figure(middle(runs, ({ shards }) => shards && read(shards[of])));
    const cores = (part: 'cpuMs' | 'serverCpuMs' | 'sinkCpuMs') =>
      each((drained) => (drained.rate * drained[part]) / 1000);
    return [
      what,
      each(({ rate }) => rate),
      cores('cpuMs'),
      cores('serverCpuMs'),
      cores('sinkCpuMs'),
      each(({ memoryMB }) => memoryMB),
    ];
  };
  const multiple = figure(middle(runs, ({ shards }) => shards && multipleOf(shards)));
  return [row('One connector', 'one'), row('Four shards', 'four'), ['Times as fast', multiple, '', '', '', '']];
}

const RATES = [10, 1000, 10_000] as const;
const DAY = 86_400;
const RETENTION_DAYS = 90;
/** As README has it; PostgreSQL's GB are 2^30 bytes. */
const KEEP_SIZE = 8 * 2 ** 30;
const PUT_SECONDS = [0.01, 0.05, 0.2] as const;
/** Of its core: the other half works off what an outage has left. */
const MOST_OF_A_CONNECTOR = 0.5;

export const RATE_HEAD: Row = ['Changes a second', ...RATES.map(figure)];

/** `performance` is the record of docs/performance.md, which knows the connector's own CPU. */
export function rateRows({ runs }: Recording, performance: Recording): Row[] {
  const of = (read: Read) => middle(runs, read) ?? Number.NaN;
  const connector = (middle(performance.runs, ({ drain50 }) => drain50?.cpuMs) ?? Number.NaN) / 1000;
  const gathered = of(({ bytes }) => bytes && bytes.delivered.cpuMs - bytes.alone.cpuMs);
  const oneByOne = of(({ readers }) => readers && readers.liveAllCpuMs - readers.allCpuMs);
  const database = [gathered, gathered + oneByOne];
  const reader = [of(({ readers }) => readers?.quarterCpuMs), of(({ readers }) => readers?.liveQuarterCpuMs)];
  const away = [of(({ bytes }) => bytes?.triggers.walAfterCheckpoint), of(({ bytes }) => bytes?.triggers.wal)];
  const all = [of(({ bytes }) => bytes?.delivered.wal), of(({ bytes }) => bytes?.delivered.walAfterCheckpoint)];
  const afterwards = of(upkeepWal);
  const outbox = of(({ bytes }) => bytes && sizeOf(bytes.kept.fhir_outbox));
  const event = of(({ bytes }) => bytes && sizeOf(bytes.kept.fhir_processed_event));
  // Events stay three times as long as outbox rows.
  const kept = (rate: number) => rate * DAY * (outbox + 3 * event);
  const cores = (rate: number) => (ms: number) => figure((rate * ms) / 1000);
  const row = (what: string, read: (rate: number) => string): Row => [what, ...RATES.map(read)];
  return [
    row('Requests at once, with PUTs of 10, 50, 200 ms', (rate) =>
      PUT_SECONDS.map((seconds) => figure(Math.ceil(rate * seconds))).join(', '),
    ),
    row('Cores of the connectors', (rate) => figure(rate * connector)),
    row('`SHARD_COUNT`, for half a core each', (rate) => figure(Math.ceil((rate * connector) / MOST_OF_A_CONNECTOR))),
    row('Cores of PostgreSQL for triggers, records and one reader', (rate) => range(database.map(cores(rate)))),
    row('Cores of PostgreSQL for each reader more, of every fourth patient', (rate) => range(reader.map(cores(rate)))),
    row('WAL a day', (rate) => range(all.map((bytes) => size(rate * DAY * (bytes + afterwards))))),
    row('`max_slot_wal_keep_size = 8GB` holds for', (rate) =>
      range(away.map((bytes) => duration(KEEP_SIZE / (rate * bytes)))),
    ),
    row(`Finished rows and events, \`RETENTION_DAYS=${RETENTION_DAYS}\``, (rate) => size(RETENTION_DAYS * kept(rate))),
    row('The same for each day of it', (rate) => size(kept(rate))),
    row('Clean-up of an hour’s rows', (rate) => duration((3600 * rate) / of(({ upkeep }) => upkeep?.removedPerSecond))),
  ];
}

function upkeepWal({ bytes, upkeep }: Measurements): number | undefined {
  return bytes && upkeep && bytes.vacuumWal + upkeep.removalWal;
}

function sizeOf({ table, indexes }: { readonly table: number; readonly indexes: number }): number {
  return table + indexes;
}

function range(values: readonly string[]): string {
  return [...new Set(values)].join(' – ');
}

/** By powers of ten. */
function size(bytes: number): string {
  if (bytes >= 1e12) return `${figure(bytes / 1e12)} TB`;
  return bytes >= 1e9 ? `${figure(bytes / 1e9)} GB` : `${figure(bytes / 1e6)} MB`;
}

function duration(seconds: number): string {
  if (seconds >= 2 * DAY) return `${figure(seconds / DAY)} days`;
  if (seconds >= 7200) return `${figure(seconds / 3600)} h`;
  return seconds >= 120 ? `${figure(seconds / 60)} min` : `${figure(seconds)} s`;
}
