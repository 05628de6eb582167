// When the alerts on the outbox fire, and when not.

import { A, B, type Cases, unknown } from './case.ts';

const since = (labels: string) => `fhir_since_progress_seconds{${labels}}`;
const standby = (labels: string) => `fhir_connector_state{state="standby", ${labels}}`;
const unprocessed = (labels = A) => `fhir_outbox_unprocessed_count{${labels}}`;
const lag = `fhir_outbox_lag_seconds{${A}}`;
const limit = `fhir_outbox_lag_limit_seconds{${A}}`;
const dead = `fhir_dlq_total{${A}}`;
const oldest = `fhir_dlq_oldest_seconds{${A}}`;
const removed = `fhir_removed_rows_total{${A}}`;
const started = `process_start_time_seconds{${A}}`;
const late = (time: string) => `The oldest change has waited ${time} longer than OUTBOX_LAG_ALERT_SECONDS allows.`;

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
        [`fhir_outbox_lag_seconds{${B}}`]: '0x12',
        [`fhir_outbox_lag_limit_seconds{${B}}`]: '30x12',
      },
      at: '30s',
      says: late('10s'),
    },
    { when: 'beyond a lower limit', series: { [lag]: '20x12', [limit]: '5x12' }, at: '30s', says: late('15s') },
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
    { when: '1,000 do', series: { [unprocessed()]: '1000x96' }, at: '6m' },
    { when: 'they wait for four minutes', series: { [unprocessed()]: '0x24 1500x72' }, at: '6m' },
    { when: 'it is not known', series: { [unprocessed()]: unknown(96) }, at: '6m' },
  ],
  DeadLettersGrow: [
    {
      when: 'three come, as one of two has read already',
      series: { [dead]: '2x24 5x240', [`fhir_dlq_total{${B}}`]: '2x264' },
      at: '3m',
      says: '3 new dead letters within 15 minutes.',
    },
    {
      when: 'the first comes',
      series: { [dead]: '0x24 1x240' },
      at: '3m',
      says: '1 new dead letters within 15 minutes.',
    },
    { when: 'they are older than that', series: { [dead]: '2x24 5x240' }, at: '20m' },
    { when: 'somebody resolves some', series: { [dead]: '5x24 2x240' }, at: '3m' },
    { when: 'they were there before the connector', series: { [dead]: `${unknown(3)} 5x240` }, at: '3m' },
  ],
  DeadLetterWaits: [
    {
      when: 'one is older than a day',
      series: { [oldest]: '90000x36', [`fhir_dlq_oldest_seconds{${B}}`]: '0x36' },
      at: '2m',
      says: 'A dead letter has waited 1d 1h 0m 0s for somebody to decide.',
    },
    { when: 'one is six hours old', series: { [oldest]: '21600x36' }, at: '2m' },
    { when: 'it is so for 45 seconds', series: { [oldest]: '90000x36' }, at: '45s' },
    { when: 'there is none', series: { [oldest]: '0x36' }, at: '2m' },
    { when: 'it is not known', series: { [oldest]: unknown(36) }, at: '2m' },
  ],
  RowsRemoved: [
    {
      when: 'one of two connectors missed some',
      series: {
        [removed]: '2x24 5x240',
        [started]: '-9000x264',
        [`fhir_removed_rows_total{${B}}`]: '0x264',
        [`process_start_time_seconds{${B}}`]: '-9000x264',
      },
      at: '3m',
      says: 'Somebody removes rows of fhir_outbox before they are recorded.',
    },
    { when: 'that was two hours ago', series: { [removed]: '2x24 5x1500', [started]: '-9000x1524' }, at: '2h3m' },
    { when: 'there were none', series: { [removed]: '0x60', [started]: '0x60' }, at: '3m' },
  ],
};
