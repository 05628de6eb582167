// When the alerts on the replication slot fire, and when not.

import { A, B, type Cases, SHARD_0, SHARD_1 } from './case.ts';

const held = (labels: string) => `fhir_slot_active{${labels}}`;
const shards = (labels: string) => `fhir_shards{${labels}}`;
const [heldA, heldB] = [held(A), held(B)];
const state = (name: string, labels = A) => `fhir_slot_state{state="${name}", ${labels}}`;
const inactive = 'No connector is seen to hold the replication slot, or that of one of the shards.';
const unreserved = 'The replication slot is behind max_slot_wal_keep_size: the next checkpoint gives it up.';
const lost = 'The replication slot is lost or missing, and no connector has made it anew.';

const skippedOf = (labels: string) => `fhir_skipped_rows_total{${labels}}`;
const startedOf = (labels: string) => `process_start_time_seconds{${labels}}`;
const [skipped, started] = [skippedOf(A), startedOf(A)];
const SKIPPED =
  'The replication slot has not handed out changes that were committed; the connector found them and delivers them.';

export const slot: Cases = {
  SlotInactive: [
    { when: 'nobody holds it', series: { [heldA]: '1x12 0x24' }, at: '2m30s', says: inactive },
    {
      when: 'the connector ends, and with it the series',
      series: { [heldA]: '1x12 stale' },
      at: '2m30s',
      says: inactive,
    },
    { when: 'there never was a connector', series: {}, at: '1m', says: inactive },
    {
      when: 'nobody holds that of one of two shards',
      series: {
        [shards(SHARD_0)]: '2x36',
        [held(SHARD_0)]: '1x36',
        [shards(SHARD_1)]: '2x36',
        [held(SHARD_1)]: '1x12 0x24',
      },
      at: '2m30s',
      says: inactive,
    },
    {
      when: 'the only connector of one of two shards ends, and with it the series',
      series: {
        [shards(SHARD_0)]: '2x36',
        [held(SHARD_0)]: '1x36',
        [shards(SHARD_1)]: '2x12 stale',
        [held(SHARD_1)]: '1x12 stale',
      },
      at: '2m30s',
      says: inactive,
    },
    {
      when: 'one of two shards never had a connector',
      series: { [shards(SHARD_0)]: '2x36', [held(SHARD_0)]: '1x36' },
      at: '1m30s',
      says: inactive,
    },
    {
      when: 'all connectors of two shards end',
      series: {
        [shards(SHARD_0)]: '2x12 stale',
        [held(SHARD_0)]: '1x12 stale',
        [shards(SHARD_1)]: '2x12 stale',
        [held(SHARD_1)]: '1x12 stale',
      },
      at: '2m30s',
      says: inactive,
    },
    { when: 'it is held', series: { [heldA]: '1x60', [shards(A)]: '1x60' }, at: '2m30s' },
    {
      when: 'both of two shards hold theirs, and the standby of one sees it too',
      series: {
        [shards(SHARD_0)]: '2x60',
        [held(SHARD_0)]: '1x60',
        [shards(SHARD_1)]: '2x60',
        [held(SHARD_1)]: '1x60',
        [shards('job="fhir_connector", instance="c", shard="1"')]: '2x60',
        [held('job="fhir_connector", instance="c", shard="1"')]: '1x60',
      },
      at: '2m30s',
    },
    {
      when: 'a rollout stops each of four shards for half a minute, one as soon as another is back',
      series: Object.fromEntries(
        [0, 1, 2, 3].flatMap((shard) => {
          const labels = `job="fhir_connector", instance="${shard}", shard="${shard}"`;
          const before = 12 + 6 * shard;
          return [
            [shards(labels), '4x60'],
            [held(labels), `1x${before} 0x5 1x${54 - before}`],
          ];
        }),
      ),
      at: '2m50s',
    },
    { when: 'it is not held for fifty seconds', series: { [heldA]: '1x12 0x24' }, at: '1m55s' },
    { when: 'it is held again', series: { [heldA]: '1x12 0x24 1x12' }, at: '3m30s' },
    {
      when: 'a connector that has just started has not asked yet',
      series: { [heldA]: '1x60', [heldB]: '0x60' },
      at: '2m30s',
    },
    {
      when: 'the holder ends and a standby sees that it has taken over',
      series: { [heldA]: '1x12 stale', [heldB]: '1x60' },
      at: '2m30s',
    },
  ],
  SlotUnreserved: [
    {
      when: 'one of two connectors has seen it already',
      series: { [state('unreserved')]: '0x12 1x12', [state('unreserved', B)]: '0x24' },
      at: '1m5s',
      says: unreserved,
    },
    {
      when: 'that of one of two shards is',
      series: { [state('unreserved', SHARD_0)]: '0x24', [state('unreserved', SHARD_1)]: '0x12 1x12' },
      at: '1m5s',
      says: 'The replication slot of shard 1 is behind max_slot_wal_keep_size: the next checkpoint gives it up.',
      ofShard: '1',
    },
    { when: 'it is only extended', series: { [state('unreserved')]: '0x24', [state('extended')]: '1x24' }, at: '1m5s' },
  ],
  SlotLost: [
    {
      when: 'it is lost',
      series: { [state('lost')]: '0x12 1x24', [state('missing')]: '0x36' },
      at: '2m30s',
      says: lost,
    },
    { when: 'it is missing', series: { [state('lost')]: '0x36', [state('missing')]: '1x36' }, at: '2m30s', says: lost },
    {
      when: 'that of one of two shards is lost',
      series: { [state('lost', SHARD_0)]: '0x36', [state('lost', SHARD_1)]: '0x12 1x24' },
      at: '2m30s',
      says: 'The replication slot of shard 1 is lost or missing, and no connector has made it anew.',
      ofShard: '1',
    },
    {
      when: 'two shards take less than a minute each to make theirs anew, one after the other',
      series: { [state('missing', SHARD_0)]: '1x8 0x28', [state('missing', SHARD_1)]: '0x7 1x8 0x20' },
      at: '1m15s',
    },
    {
      when: 'the connector takes less than a minute to make it anew',
      series: { [state('lost')]: '0x12 1x3 0x24', [state('missing')]: '0x15 1x20' },
      at: '1m55s',
    },
    {
      when: 'it is not known',
      series: { [state('lost')]: '0x36', [state('missing')]: '0x36', [state('unknown')]: '1x36' },
      at: '2m30s',
    },
  ],
  RowsSkipped: [
    {
      when: 'a sweep found some while the connector ran',
      series: { [skipped]: '0x24 7x240', [started]: '-9000x264' },
      at: '3m',
      says: SKIPPED,
    },
    {
      when: 'a sweep found some at the start, before the first scrape',
      series: { [skipped]: '7x240', [started]: '0x240' },
      at: '3m',
      says: SKIPPED,
    },
    {
      when: 'it was so for one of two shards, at the start',
      series: {
        [skippedOf(SHARD_0)]: '0x240',
        [startedOf(SHARD_0)]: '0x240',
        [skippedOf(SHARD_1)]: '7x240',
        [startedOf(SHARD_1)]: '0x240',
      },
      at: '3m',
      says: SKIPPED.replace('slot', 'slot of shard 1'),
      ofShard: '1',
    },
    { when: 'that was two hours ago', series: { [skipped]: '7x1500', [started]: '0x1500' }, at: '2h' },
    { when: 'there were none', series: { [skipped]: '0x60', [started]: '0x60' }, at: '3m' },
  ],
};
