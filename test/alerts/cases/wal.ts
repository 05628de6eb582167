// When the alerts on the WAL that the replication slot keeps fire, and when not.

import { A, B, type Cases, SHARD_0, SHARD_1, unknown } from './case.ts';

const lagOf = (labels: string) => `fhir_slot_confirmed_lag_bytes{${labels}}`;
const retainedOf = (labels: string) => `fhir_slot_retained_bytes{${labels}}`;
const safeOf = (labels: string) => `fhir_slot_safe_wal_bytes{${labels}}`;
const [lag, retained, safe] = [lagOf(A), retainedOf(A), safeOf(A)];
const MIB = 1024 ** 2;

export const wal: Cases = {
  SlotLag: [
    {
      when: 'it is half a gigabyte',
      series: { [lag]: `${512 * MIB}x96`, [lagOf(B)]: '0x96' },
      at: '6m',
      says: 'The connector is 512MiB of WAL behind.',
    },
    {
      when: 'it is so in one of two shards',
      series: { [lagOf(SHARD_0)]: '0x96', [lagOf(SHARD_1)]: `${512 * MIB}x96` },
      at: '6m',
      says: 'The connector of shard 1 is 512MiB of WAL behind.',
      ofShard: '1',
    },
    {
      when: 'it is so in one of two shards for three minutes, and then in the other one',
      series: { [lagOf(SHARD_0)]: `${512 * MIB}x36 0x60`, [lagOf(SHARD_1)]: `0x36 ${512 * MIB}x60` },
      at: '6m',
    },
    { when: 'it is so for four minutes', series: { [lag]: `0x24 ${512 * MIB}x72` }, at: '6m' },
    { when: 'it is small', series: { [lag]: `${100 * MIB}x96` }, at: '6m' },
    { when: 'it is not known', series: { [lag]: unknown(96) }, at: '6m' },
  ],
  RetainedWal: [
    {
      when: 'it is two gigabytes',
      series: { [retained]: `${2048 * MIB}x96`, [retainedOf(B)]: '0x96' },
      at: '6m',
      says: 'PostgreSQL keeps 2GiB of WAL for the replication slot.',
    },
    {
      when: 'it is so for one of two shards',
      series: { [retainedOf(SHARD_0)]: '0x96', [retainedOf(SHARD_1)]: `${2048 * MIB}x96` },
      at: '6m',
      says: 'PostgreSQL keeps 2GiB of WAL for the replication slot of shard 1.',
      ofShard: '1',
    },
    { when: 'it is half a gigabyte', series: { [retained]: `${512 * MIB}x96` }, at: '6m' },
    { when: 'a bulk load passes', series: { [retained]: `0x24 ${2048 * MIB}x48 0x24` }, at: '6m' },
    { when: 'it is not known', series: { [retained]: unknown(96) }, at: '6m' },
  ],
  WalHeadroom: [
    {
      when: 'one of eight gigabytes is left',
      series: { [safe]: `${1024 * MIB}x36`, [retained]: `${7168 * MIB}x36` },
      at: '2m',
      says: 'Only 12.5% of the WAL that the replication slot may keep is left.',
    },
    {
      when: 'it is so for one of two shards',
      series: {
        [safeOf(SHARD_0)]: `${8192 * MIB}x36`,
        [retainedOf(SHARD_0)]: '0x36',
        [safeOf(SHARD_1)]: `${1024 * MIB}x36`,
        [retainedOf(SHARD_1)]: `${7168 * MIB}x36`,
      },
      at: '2m',
      says: 'Only 12.5% of the WAL that the replication slot of shard 1 may keep is left.',
      ofShard: '1',
    },
    {
      when: 'it is so for 45 seconds',
      series: { [safe]: `${1024 * MIB}x36`, [retained]: `${7168 * MIB}x36` },
      at: '45s',
    },
    { when: 'half is left', series: { [safe]: `${4096 * MIB}x36`, [retained]: `${4096 * MIB}x36` }, at: '2m' },
    { when: 'there is no limit', series: { [safe]: unknown(36), [retained]: `${7168 * MIB}x36` }, at: '2m' },
    { when: 'the slot is lost already', series: { [safe]: '0x36', [retained]: '0x36' }, at: '2m' },
  ],
  WalRunway: [
    {
      when: 'two megabytes a second fill the last three gigabytes',
      series: { [safe]: '3000000000x240', [retained]: '0+10000000x240' },
      at: '18m',
      says: 'At the rate of the last ten minutes the replication slot is given up in 25m 0s.',
    },
    {
      when: 'they do so for one of two shards',
      series: {
        [safeOf(SHARD_0)]: '8000000000x240',
        [retainedOf(SHARD_0)]: '1000x240',
        [safeOf(SHARD_1)]: '3000000000x240',
        [retainedOf(SHARD_1)]: '0+10000000x240',
      },
      at: '18m',
      says: 'At the rate of the last ten minutes the replication slot of shard 1 is given up in 25m 0s.',
      ofShard: '1',
    },
    { when: 'it is so for four minutes', series: { [safe]: '3000000000x240', [retained]: '0+10000000x240' }, at: '4m' },
    { when: 'it takes eight hours', series: { [safe]: '3000000000x240', [retained]: '0+500000x240' }, at: '18m' },
    { when: 'nothing more is kept', series: { [safe]: '3000000000x240', [retained]: '9000000000x240' }, at: '18m' },
    { when: 'it gets less', series: { [safe]: '3000000000x240', [retained]: '9000000000-10000000x240' }, at: '18m' },
    { when: 'there is no limit', series: { [safe]: unknown(240), [retained]: '0+10000000x240' }, at: '18m' },
  ],
};
