// When the alerts on the connector's processes fire, and when not.

import { A, B, type Cases, SHARD_0, SHARD_1 } from './case.ts';

const [upA, upB] = [`up{${A}}`, `up{${B}}`];
const failures = (labels = A) => `fhir_cleanup_failures_total{${labels}}`;

export const connector: Cases = {
  ConnectorDown: [
    {
      when: 'the only one is gone',
      series: { [upA]: '1x12 0x24' },
      at: '1m45s',
      says: 'No connector answers Prometheus.',
    },
    {
      when: 'all are gone',
      series: { [upA]: '0x24', [upB]: '0x24' },
      at: '1m',
      says: 'No connector answers Prometheus.',
    },
    { when: 'Prometheus has none to scrape', series: {}, at: '1m', says: 'No connector answers Prometheus.' },
    { when: 'it is gone for twenty seconds', series: { [upA]: '1x12 0x24' }, at: '1m25s' },
    { when: 'it is back', series: { [upA]: '1x12 0x12 1x12' }, at: '2m30s' },
    { when: 'one of two is gone', series: { [upA]: '1x24', [upB]: '0x24' }, at: '1m45s' },
  ],
  StandbyDown: [
    {
      when: 'one of two is gone for five minutes',
      series: { [upA]: '1x96', [upB]: '0x96' },
      at: '6m',
      says: '1 of several connectors does not answer Prometheus.',
    },
    { when: 'both are there', series: { [upA]: '1x96', [upB]: '1x96' }, at: '6m' },
    { when: 'it is gone for four minutes', series: { [upA]: '1x96', [upB]: '1x24 0x72' }, at: '6m' },
    { when: 'all are gone, which ConnectorDown tells', series: { [upA]: '0x96', [upB]: '0x96' }, at: '6m' },
  ],
  CleanUpFails: [
    {
      when: 'it failed twice',
      series: { [failures()]: '0x719 1x719 2x719' },
      at: '2h10m',
      says: 'The hourly clean-up has failed again and again.',
    },
    { when: 'it failed once', series: { [failures()]: '0x719 1x1439' }, at: '2h10m' },
    { when: 'it failed long ago', series: { [failures()]: '0x719 1x719 2x3600' }, at: '6h' },
    {
      when: 'it failed twice in one of two shards',
      series: { [failures(SHARD_0)]: '0x2157', [failures(SHARD_1)]: '0x719 1x719 2x719' },
      at: '2h10m',
      says: 'The hourly clean-up of shard 1 has failed again and again.',
      ofShard: '1',
    },
    {
      when: 'it failed once in each of two shards',
      series: { [failures(SHARD_0)]: '0x719 1x1439', [failures(SHARD_1)]: '0x719 1x1439' },
      at: '2h10m',
    },
  ],
};
