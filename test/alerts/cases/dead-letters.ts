// When the alerts on dead letters fire, and when not.

import { A, B, type Cases, SHARD_0, SHARD_1, unknown } from './case.ts';

const deadOf = (labels: string) => `fhir_dlq_total{${labels}}`;
const oldestOf = (labels: string) => `fhir_dlq_oldest_seconds{${labels}}`;
const [dead, oldest] = [deadOf(A), oldestOf(A)];

export const deadLetters: Cases = {
  DeadLettersGrow: [
    {
      when: 'three come, as one of two has read already',
      series: { [dead]: '2x24 5x240', [deadOf(B)]: '2x264' },
      at: '3m',
      says: '3 new dead letters within 15 minutes.',
    },
    {
      when: 'the first comes',
      series: { [dead]: '0x24 1x240' },
      at: '3m',
      says: '1 new dead letters within 15 minutes.',
    },
    {
      when: 'one comes in the one of two shards that has fewer',
      series: { [deadOf(SHARD_0)]: '7x264', [deadOf(SHARD_1)]: '2x24 3x240' },
      at: '3m',
      says: '1 new dead letters of shard 1 within 15 minutes.',
      ofShard: '1',
    },
    {
      when: 'two shards have different numbers of old ones',
      series: { [deadOf(SHARD_0)]: '7x264', [deadOf(SHARD_1)]: '2x264' },
      at: '3m',
    },
    { when: 'they are older than that', series: { [dead]: '2x24 5x240' }, at: '20m' },
    { when: 'somebody resolves some', series: { [dead]: '5x24 2x240' }, at: '3m' },
    { when: 'they were there before the connector', series: { [dead]: `${unknown(3)} 5x240` }, at: '3m' },
  ],
  DeadLetterWaits: [
    {
      when: 'one is older than a day',
      series: { [oldest]: '90000x36', [oldestOf(B)]: '0x36' },
      at: '2m',
      says: 'A dead letter has waited 1d 1h 0m 0s for somebody to decide.',
    },
    {
      when: 'one of one of two shards is',
      series: { [oldestOf(SHARD_0)]: '0x36', [oldestOf(SHARD_1)]: '90000x36' },
      at: '2m',
      says: 'A dead letter has waited 1d 1h 0m 0s for somebody to decide.',
    },
    { when: 'one is six hours old', series: { [oldest]: '21600x36' }, at: '2m' },
    { when: 'it is so for 45 seconds', series: { [oldest]: '90000x36' }, at: '45s' },
    { when: 'there is none', series: { [oldest]: '0x36' }, at: '2m' },
    { when: 'it is not known', series: { [oldest]: unknown(36) }, at: '2m' },
  ],
};
