// When the alerts on the replication slot fire, and when not.

import { A, B, type Cases, unknown } from './case.ts';

const [heldA, heldB] = [`fhir_slot_active{${A}}`, `fhir_slot_active{${B}}`];
const state = (name: string, labels = A) => `fhir_slot_state{state="${name}", ${labels}}`;
const lag = `fhir_slot_confirmed_lag_bytes{${A}}`;
const retained = `fhir_slot_retained_bytes{${A}}`;
const safe = `fhir_slot_safe_wal_bytes{${A}}`;
const inactive = 'No connector is seen to hold the replication slot.';
const unreserved = 'The replication slot is behind max_slot_wal_keep_size: the next checkpoint gives it up.';
const lost = 'The replication slot is lost or missing, and no connector has made it anew.';
const MIB = 1024 ** 2;

const skipped = `fhir_skipped_rows_total{${A}}`;
const started = `process_start_time_seconds{${A}}`;
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
    { when: 'it is held', series: { [heldA]: '1x60' }, at: '2m30s' },
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
  SlotLag: [
    {
      when: 'it is half a gigabyte',
      series: { [lag]: `${512 * MIB}x96`, [`fhir_slot_confirmed_lag_bytes{${B}}`]: '0x96' },
      at: '6m',
      says: 'The connector is 512MiB of WAL behind.',
    },
    { when: 'it is so for four minutes', series: { [lag]: `0x24 ${512 * MIB}x72` }, at: '6m' },
    { when: 'it is small', series: { [lag]: `${100 * MIB}x96` }, at: '6m' },
    { when: 'it is not known', series: { [lag]: unknown(96) }, at: '6m' },
  ],
  RetainedWal: [
    {
      when: 'it is two gigabytes',
      series: { [retained]: `${2048 * MIB}x96`, [`fhir_slot_retained_bytes{${B}}`]: '0x96' },
      at: '6m',
      says: 'PostgreSQL keeps 2GiB of WAL for the replication slot.',
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
    { when: 'it is so for four minutes', series: { [safe]: '3000000000x240', [retained]: '0+10000000x240' }, at: '4m' },
    { when: 'it takes eight hours', series: { [safe]: '3000000000x240', [retained]: '0+500000x240' }, at: '18m' },
    { when: 'nothing more is kept', series: { [safe]: '3000000000x240', [retained]: '9000000000x240' }, at: '18m' },
    { when: 'it gets less', series: { [safe]: '3000000000x240', [retained]: '9000000000-10000000x240' }, at: '18m' },
    { when: 'there is no limit', series: { [safe]: unknown(240), [retained]: '0+10000000x240' }, at: '18m' },
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
    { when: 'that was two hours ago', series: { [skipped]: '7x1500', [started]: '0x1500' }, at: '2h' },
    { when: 'there were none', series: { [skipped]: '0x60', [started]: '0x60' }, at: '3m' },
  ],
};
