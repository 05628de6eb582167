// When the alerts on the outbox fire, and when not.

import { A, B, type Cases, SHARD_0, SHARD_1, unknown } from './case.ts';

const since = (labels: string) => `fhir_since_progress_seconds{${labels}}`;
const standby = (labels: string) => `fhir_connector_state{state="standby", ${labels}}`;
const unprocessed = (labels = A) => `fhir_outbox_unprocessed_count{${labels}}`;
const lagOf = (labels: string) => `fhir_outbox_lag_seconds{${labels}}`;
const limitOf = (labels: string) => `fhir_outbox_lag_limit_seconds{${labels}}`;
const removedOf = (labels: string) => `fhir_removed_rows_total{${labels}}`;
const startedOf = (labels: string) => `process_start_time_seconds{${labels}}`;
const [lag, limit] = [lagOf(A), limitOf(A)];
const [removed, started] = [removedOf(A), startedOf(A)];
const late = (time: string, change = 'change') =>
  `The oldest ${change} has waited ${time} longer than OUTBOX_LAG_ALERT_SECONDS allows.`;

export const outbox: Cases = {
  NoProgress: [
    {
      when: 'a delivery hangs',
      series: { [since(A)]: '0+5x60', [standby(A)]: '0x60', [unprocessed()]: '3x60' },
      at: '2m',
      says: 'Changes wait, and nothing was delivered for 2m 0s.',
    },
    {
      when: 'the holder hangs and a standby has just started',
      series: {
        [since(A)]: '0+5x60',
        [standby(A)]: '0x60',
        [unprocessed()]: '3x60',
        [since(B)]: '0x60',
        [standby(B)]: '1x60',
        [unprocessed(B)]: '0x60',
      },
      at: '2m',
      says: 'Changes wait, and nothing was delivered for 2m 0s.',
    },
    {
      when: 'a delivery of one of two shards hangs, and the other one works',
      series: {
        [since(SHARD_0)]: '1x60',
        [standby(SHARD_0)]: '0x60',
        [unprocessed(SHARD_0)]: '3x60',
        [since(SHARD_1)]: '0+5x60',
        [standby(SHARD_1)]: '0x60',
        [unprocessed(SHARD_1)]: '3x60',
      },
      at: '2m',
      says: 'Changes of shard 1 wait, and nothing was delivered for 2m 0s.',
      ofShard: '1',
    },
    {
      when: 'one of two shards has work and does it, and the other one has none',
      series: {
        [since(SHARD_0)]: '1x60',
        [standby(SHARD_0)]: '0x60',
        [unprocessed(SHARD_0)]: '3x60',
        [since(SHARD_1)]: '0+5x60',
        [standby(SHARD_1)]: '0x60',
        [unprocessed(SHARD_1)]: '0x60',
      },
      at: '2m',
    },
    {
      when: 'a standby has nothing to do and the holder works',
      series: {
        [since(A)]: '1x60',
        [standby(A)]: '0x60',
        [unprocessed()]: '3x60',
        [since(B)]: '3600+5x60',
        [standby(B)]: '1x60',
        [unprocessed(B)]: '3x60',
      },
      at: '2m',
    },
    {
      when: 'one starts and the holder works',
      series: {
        [since(A)]: '1x60',
        [standby(A)]: '0x60',
        [unprocessed()]: '3x60',
        [since(B)]: '0+5x60',
        [standby(B)]: '0x60',
      },
      at: '2m',
    },
    {
      when: 'there is no work',
      series: { [since(A)]: '0+5x60', [standby(A)]: '0x60', [unprocessed()]: '0x60' },
      at: '2m',
    },
    {
      when: 'it is not known whether there is work',
      series: { [since(A)]: '0+5x60', [standby(A)]: '0x60', [unprocessed()]: unknown(60) },
      at: '2m',
    },
    {
      when: 'it hangs for half a minute',
      series: { [since(A)]: '0+5x60', [standby(A)]: '0x60', [unprocessed()]: '3x60' },
      at: '35s',
    },
  ],
  OutboxAge: [
    {
      when: 'ten seconds beyond the limit, as one of two has read already',
      series: {
        [lag]: '40x12',
        [limit]: '30x12',
        [lagOf(B)]: '0x12',
        [limitOf(B)]: '30x12',
      },
      at: '30s',
      says: late('10s'),
    },
    { when: 'beyond a lower limit', series: { [lag]: '20x12', [limit]: '5x12' }, at: '30s', says: late('15s') },
    {
      when: 'that of one of two shards is beyond it',
      series: {
        [lagOf(SHARD_0)]: '0x12',
        [limitOf(SHARD_0)]: '30x12',
        [lagOf(SHARD_1)]: '40x12',
        [limitOf(SHARD_1)]: '30x12',
      },
      at: '30s',
      says: late('10s', 'change of shard 1'),
      ofShard: '1',
    },
    { when: 'below the limit', series: { [lag]: '20x12', [limit]: '30x12' }, at: '30s' },
    { when: 'it is so for a moment', series: { [lag]: '0x6 40x1 0x12', [limit]: '30x20' }, at: '35s' },
    { when: 'it is not known', series: { [lag]: unknown(12), [limit]: '30x12' }, at: '30s' },
  ],
  OutboxBacklog: [
    {
      when: '1,500 rows wait',
      series: { [unprocessed()]: '1500x96', [unprocessed(B)]: '0x96' },
      at: '6m',
      says: '1.5k outbox rows are unprocessed.',
    },
    {
      when: 'they are of one of two shards',
      series: { [unprocessed(SHARD_0)]: '0x96', [unprocessed(SHARD_1)]: '1500x96' },
      at: '6m',
      says: '1.5k outbox rows of shard 1 are unprocessed.',
      ofShard: '1',
    },
    {
      when: 'they are of one of two shards for three minutes, and then of the other one',
      series: { [unprocessed(SHARD_0)]: '1500x36 0x60', [unprocessed(SHARD_1)]: '0x36 1500x60' },
      at: '6m',
    },
    { when: '1,000 do', series: { [unprocessed()]: '1000x96' }, at: '6m' },
    { when: 'they wait for four minutes', series: { [unprocessed()]: '0x24 1500x72' }, at: '6m' },
    { when: 'it is not known', series: { [unprocessed()]: unknown(96) }, at: '6m' },
  ],
  RowsRemoved: [
    {
      when: 'one of two connectors missed some',
      series: {
        [removed]: '2x24 5x240',
        [started]: '-9000x264',
        [removedOf(B)]: '0x264',
        [startedOf(B)]: '-9000x264',
      },
      at: '3m',
      says: 'Somebody removes rows of fhir_outbox before they are recorded.',
    },
    {
      when: 'each of two shards missed some, which is one thing',
      series: {
        [removedOf(SHARD_0)]: '2x24 5x240',
        [startedOf(SHARD_0)]: '-9000x264',
        [removedOf(SHARD_1)]: '7x264',
        [startedOf(SHARD_1)]: '0x264',
      },
      at: '3m',
      says: 'Somebody removes rows of fhir_outbox before they are recorded.',
    },
    { when: 'that was two hours ago', series: { [removed]: '2x24 5x1500', [started]: '-9000x1524' }, at: '2h3m' },
    { when: 'there were none', series: { [removed]: '0x60', [started]: '0x60' }, at: '3m' },
  ],
};
