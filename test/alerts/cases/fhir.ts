// When the alerts on the FHIR server fire, and when not.

import { A, B, type Cases, unknown } from './case.ts';

const breaker = (state: string) => `fhir_breaker_state{state="${state}", ${A}}`;
const retries = (code: string) => `fhir_retries_total{code="${code}", ${A}}`;
const calls = (le: string) => `fhir_call_latency_seconds_bucket{le="${le}", ${A}}`;
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
      when: 'only a standby cannot reach it',
      series: {
        [breaker('outage')]: '0x36',
        [`fhir_breaker_state{${B}, state="outage"}`]: '1x36',
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
