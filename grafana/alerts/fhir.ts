// The FHIR server: does it work, is it quick, does it have what the database has?

import { type AlertGroup, NOT_OF_STANDBYS, UNSEEN } from './rule.ts';

export const fhir: AlertGroup = {
  name: 'FHIR server',
  rules: [
    {
      name: 'BreakerOpen',
      // A standby that cannot reach the server delivers nothing anyway.
      value: `max by (shard) (fhir_breaker_state{state=~"outage|refusing"} ${NOT_OF_STANDBYS})`,
      fires: { above: 0 },
      forSeconds: 60,
      severity: 'critical',
      summary: 'Deliveries{shard} are held: the FHIR server is away or refuses everything.',
      meaning:
        'Nothing is delivered. Nothing is lost or dead-lettered by it: the slot keeps the WAL, and deliveries go on by themselves.',
      action: 'Bring the FHIR server back; when it refuses, mend what it refuses for. Do not restart the connector.',
      noData: UNSEEN,
    },
    {
      name: 'RetryRate',
      // Tries that count end at MAX_RETRIES, so it takes a dozen patients, or a server that says 503 to whatever is written.
      value: 'sum(rate(fhir_retries_total[5m]))',
      fires: { above: 0.2 },
      forSeconds: 300,
      severity: 'warning',
      summary: '{value} deliveries a second have to be tried again.',
      format: 'humanize',
      meaning: 'The FHIR server fails, refuses or conflicts for many patients, though not for all.',
      action: 'See the codes of the failures; docs/faults.md says what each means.',
      noData: UNSEEN,
    },
    {
      name: 'FhirLatency',
      value: 'histogram_quantile(0.95, sum by (le, shard) (rate(fhir_call_latency_seconds_bucket[5m])))',
      fires: { above: 1 },
      forSeconds: 300,
      severity: 'warning',
      summary: 'One in twenty calls{shard} to the FHIR server takes longer than {value}.',
      format: 'humanizeDuration',
      meaning: 'Changes reach the FHIR server later than the second that is promised.',
      action: 'Look at the FHIR server and its database; with FHIR_CONCURRENCY the connector asks less of it at once.',
      noData: { state: 'OK', because: 'no call was made in five minutes' },
    },
    {
      name: 'Drift',
      // Every connector reads the same table; a scope that was never verified is NaN, which max leaves out.
      value: 'max(sum by (job, instance, scope) (fhir_drift))',
      fires: { above: 0 },
      forSeconds: 60,
      severity: 'warning',
      summary: '{value} patients or resources differed when the last verification ended.',
      format: 'humanize',
      meaning: 'The FHIR server does not have what the database has, and nothing on its way will mend it.',
      action: 'See with verify which they are; verify --repair sends what can be sent.',
      noData: { state: 'OK', because: 'there was no verification yet' },
    },
  ],
};
