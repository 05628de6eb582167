// When the alerts on the FHIR server fire, and when not.

import { A, B, type Cases, SHARD_0, SHARD_1, unknown } from './case.ts';

const breaker = (state: string, labels = A) => `fhir_breaker_state{state="${state}", ${labels}}`;
const retries = (code: string, labels = A) => `fhir_retries_total{code="${code}", ${labels}}`;
const calls = (le: string, labels = A) => `fhir_call_latency_seconds_bucket{le="${le}", ${labels}}`;
const drift = (scope: string, kind: string, labels = A) => `fhir_drift{scope="${scope}", kind="${kind}", ${labels}}`;
const held = 'Deliveries are held: the FHIR server is away or refuses everything.';

export const fhir: Cases = {
  BreakerOpen: [
    {
      when: 'it is away',
      series: { [breaker('outage')]: '0x12 1x24', [breaker('refusing')]: '0x36' },
      at: '2m30s',
      says: held,
    },
    {
      when: 'it refuses',
      series: { [breaker('outage')]: '0x36', [breaker('refusing')]: '1x36' },
      at: '2m30s',
      says: held,
    },
    {
      when: 'it is away for 55 seconds',
      series: { [breaker('outage')]: '0x12 1x24', [breaker('refusing')]: '0x36' },
      at: '1m55s',
    },
    { when: 'it works', series: { [breaker('flowing')]: '1x36', [breaker('outage')]: '0x36' }, at: '2m30s' },
    {
      when: 'it is away for one of two shards',
      series: { [breaker('outage', SHARD_0)]: '0x36', [breaker('outage', SHARD_1)]: '0x12 1x24' },
      at: '2m30s',
      says: 'Deliveries of shard 1 are held: the FHIR server is away or refuses everything.',
      ofShard: '1',
    },
    {
      when: 'it is away for one shard and then for another one, for half a minute each',
      series: { [breaker('outage', SHARD_0)]: '0x12 1x8 0x16', [breaker('outage', SHARD_1)]: '0x19 1x8 0x9' },
      at: '2m15s',
    },
    {
      when: 'only a standby cannot reach it',
      series: {
        [breaker('outage')]: '0x36',
        [breaker('outage', B)]: '1x36',
        [`fhir_connector_state{${B}, state="standby"}`]: '1x36',
      },
      at: '2m30s',
    },
  ],
  RetryRate: [
    {
      when: 'one delivery a second is repeated, for two reasons',
      series: { [retries('timeout')]: '0+4x240', [retries('http-500')]: '0+1x240' },
      at: '15m',
      says: '1 deliveries a second have to be tried again.',
    },
    {
      when: 'in each of two shards it is so for one in seven seconds',
      series: { [retries('timeout', SHARD_0)]: '0+0.7x240', [retries('timeout', SHARD_1)]: '0+0.7x240' },
      at: '15m',
      says: '280m deliveries a second have to be tried again.',
    },
    { when: 'one patient uses up its tries', series: { [retries('timeout')]: '0x24 1 2 3 4 5x240' }, at: '8m' },
    { when: 'it is so for four minutes', series: { [retries('timeout')]: '0+5x240' }, at: '4m' },
    { when: 'it is one in ten seconds', series: { [retries('timeout')]: '0+0.5x240' }, at: '15m' },
  ],
  FhirLatency: [
    {
      when: 'every call takes between 1 and 2.5 s',
      series: { [calls('1')]: '0x240', [calls('2.5')]: '0+10x240', [calls('+Inf')]: '0+10x240' },
      at: '12m',
      says: 'One in twenty calls to the FHIR server takes longer than 2.425s.',
    },
    {
      when: 'it is so for one of two shards, which therefore makes few calls',
      series: {
        [calls('1', SHARD_0)]: '0+1000x240',
        [calls('2.5', SHARD_0)]: '0+1000x240',
        [calls('+Inf', SHARD_0)]: '0+1000x240',
        [calls('1', SHARD_1)]: '0x240',
        [calls('2.5', SHARD_1)]: '0+10x240',
        [calls('+Inf', SHARD_1)]: '0+10x240',
      },
      at: '12m',
      says: 'One in twenty calls of shard 1 to the FHIR server takes longer than 2.425s.',
      ofShard: '1',
    },
    {
      when: 'one in a hundred does',
      series: { [calls('1')]: '0+99x240', [calls('2.5')]: '0+100x240', [calls('+Inf')]: '0+100x240' },
      at: '12m',
    },
    {
      when: 'it is so for four minutes',
      series: { [calls('1')]: '0x240', [calls('2.5')]: '0+10x240', [calls('+Inf')]: '0+10x240' },
      at: '4m',
    },
    {
      when: 'there are no calls',
      series: { [calls('1')]: '7x240', [calls('2.5')]: '9x240', [calls('+Inf')]: '9x240' },
      at: '12m',
    },
  ],
  Drift: [
    {
      when: 'two patients differ, as both connectors read',
      series: {
        [drift('all', 'differs')]: '1x36',
        [drift('all', 'missing')]: '1x36',
        [drift('sample', 'differs')]: unknown(36),
        [drift('all', 'differs', B)]: '1x36',
        [drift('all', 'missing', B)]: '1x36',
      },
      at: '2m',
      says: '2 patients or resources differed when the last verification ended.',
    },
    {
      when: 'one does, as the connectors of two shards read',
      series: { [drift('all', 'differs', SHARD_0)]: '1x36', [drift('all', 'differs', SHARD_1)]: '1x36' },
      at: '2m',
      says: '1 patients or resources differed when the last verification ended.',
    },
    { when: 'it is so for 45 seconds', series: { [drift('all', 'differs')]: '1x36' }, at: '45s' },
    {
      when: 'none does',
      series: { [drift('all', 'differs')]: '0x36', [drift('sample', 'differs')]: '0x36' },
      at: '2m',
    },
    {
      when: 'there was no verification',
      series: { [drift('all', 'differs')]: unknown(36), [drift('sample', 'differs')]: unknown(36) },
      at: '2m',
    },
  ],
};
