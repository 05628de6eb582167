// When the alerts on PostgreSQL itself fire, and when not.

import { A, B, type Cases, SHARD_0, SHARD_1, unknown } from './case.ts';

const age = (labels: string) => `fhir_database_age_seconds{${labels}}`;
const [ageA, ageB] = [age(A), age(B)];
const off = (labels: string) => `fhir_triggers_off{${labels}}`;
const [offA, offB] = [off(A), off(B)];

export const database: Cases = {
  DatabaseSilent: [
    {
      when: 'PostgreSQL does not tell',
      series: { [ageA]: '2x12 5+5x24' },
      at: '2m30s',
      says: 'For 1m 30s PostgreSQL has told no connector how it stands.',
    },
    {
      when: 'it was away before the connector started',
      series: { [ageA]: '0+5x24' },
      at: '1m30s',
      says: 'For 1m 30s PostgreSQL has told no connector how it stands.',
    },
    {
      when: 'another connector is told',
      series: { [ageA]: '5+5x36', [ageB]: '2x36' },
      at: '2m30s',
    },
    {
      when: 'it tells the connector of one shard and not that of another one',
      series: { [age(SHARD_0)]: '2x36', [age(SHARD_1)]: '2x12 5+5x24' },
      at: '2m30s',
      says: 'For 1m 30s PostgreSQL has told no connector of shard 1 how it stands.',
      ofShard: '1',
    },
    { when: 'PostgreSQL is restarted', series: { [ageA]: '2x12 5+5x8 2x12' }, at: '1m45s' },
  ],
  TriggersOff: [
    {
      when: 'one of them was disabled',
      series: { [offA]: '0x12 1x24' },
      at: '2m',
      says: '1 of the triggers that write fhir_outbox are missing or disabled.',
    },
    { when: 'one connector does not know yet', series: { [offA]: unknown(24), [offB]: '0x24' }, at: '2m' },
    {
      when: 'the connectors of two shards see it, which is one thing',
      series: { [off(SHARD_0)]: '0x12 1x24', [off(SHARD_1)]: '0x12 1x24' },
      at: '2m',
      says: '1 of the triggers that write fhir_outbox are missing or disabled.',
    },
    { when: 'they are enabled again at once', series: { [offA]: '0x12 1x3 0x24' }, at: '1m15s' },
  ],
};
