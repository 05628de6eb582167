// What docs/scaling.md says of a rate follows from what was measured: by figures that can be reckoned in the head.

import { describe, expect, it, test } from 'vitest';
import type { Recording } from '../../bench/performance-page.ts';
import { rateRows, shardRows } from '../../bench/scaling-page.ts';

const written = (wal: number, walAfterCheckpoint: number, cpuMs: number) => ({ wal, walAfterCheckpoint, cpuMs });

const recording = {
  runs: [
    {
      readers: { allCpuMs: 0.02, quarterCpuMs: 0.01, liveAllCpuMs: 0.12, liveQuarterCpuMs: 0.05 },
      bytes: {
        alone: written(300, 20_000, 0.01),
        triggers: written(1024, 2 ** 15, 0.05),
        delivered: written(2700, 59_700, 0.11),
        kept: { fhir_outbox: { table: 650, indexes: 50 }, fhir_processed_event: { table: 60, indexes: 40 } },
        vacuumWal: 100,
      },
      upkeep: { removalWal: 200, removedPerSecond: 36_000 },
    },
  ],
} as unknown as Recording;
const performance = { runs: [{ drain50: { cpuMs: 0.25 } }] } as unknown as Recording;

describe('at 10, 1,000 and 10,000 changes a second', () => {
  it.each([
    ['Requests at once, with PUTs of 10, 50, 200 ms', '1, 1, 2', '10, 50, 200', '100, 500, 2,000'],
    ['Cores of the connectors', '0.0025', '0.25', '2.5'],
    ['`SHARD_COUNT`, for half a core each', '1', '1', '5'],
    ['Cores of PostgreSQL for triggers, records and one reader', '0.001 – 0.002', '0.1 – 0.2', '1 – 2'],
    [
      'Cores of PostgreSQL for each reader more, of every fourth patient',
      '0.0001 – 0.0005',
      '0.01 – 0.05',
      '0.1 – 0.5',
    ],
    // 864,000 × 3,000 and × 60,000 bytes.
    ['WAL a day', '2.59 GB – 51.8 GB', '259 GB – 5.18 TB', '2.59 TB – 51.8 TB'],
    // 2^33 / 2^15 = 262,144 and 2^33 / 2^10 = 8,388,608 changes.
    ['`max_slot_wal_keep_size = 8GB` holds for', '7.28 h – 9.71 days', '4.37 min – 2.33 h', '26.2 s – 14 min'],
    // 700 bytes for 90 days and 100 bytes for 270: 90,000 bytes × 86,400 for each change a second.
    ['Finished rows and events, `RETENTION_DAYS=90`', '77.8 GB', '7.78 TB', '77.8 TB'],
    ['The same for each day of it', '864 MB', '86.4 GB', '864 GB'],
    ['Clean-up of an hour’s rows', '1 s', '100 s', '16.7 min'],
  ])('the figures of “%s” are %s, %s and %s', (...row) => {
    expect(rateRows(recording, performance)).toContainEqual(row);
  });
});

test('the rows on shards tell rates, and the cores that they take', () => {
  const one = { rate: 400, cpuMs: 0.25, serverCpuMs: 0.5, sinkCpuMs: 0.05, memoryMB: 200 };
  const four = { rate: 1200, cpuMs: 0.5, serverCpuMs: 0.5, sinkCpuMs: 0.05, memoryMB: 800 };
  expect(shardRows({ runs: [{ shards: { one, four } }] } as unknown as Recording)).toEqual([
    ['One connector', '400', '0.1', '0.2', '0.02', '200'],
    ['Four shards', '1,200', '0.6', '0.6', '0.06', '800'],
    ['Times as fast', '3', '', '', '', ''],
  ]);
});
