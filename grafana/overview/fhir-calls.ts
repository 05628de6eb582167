// The calls to the FHIR server: how many, how quick, what fails, and what waits for them.

import { EventsPerSecond, Seconds, Short } from '@grafana/grafana-foundation-sdk/units';
import { lines, STACKED, stateOverTime } from './panel.ts';
import { quantilesOf } from './quantiles.ts';
import type { Row } from './row.ts';
import { fixed } from './value.ts';

function byCode(title: string, description: string, counter: string) {
  return lines(title, description, { '{{code}}': `sum by (code) (rate(${counter}[$__rate_interval]))` })
    .unit(EventsPerSecond)
    .stacking(STACKED);
}

export const fhirCalls: Row = {
  title: 'FHIR calls',
  panels: [
    lines('Events', 'Outbox events delivered, moved to the dead letters, and superseded by a newer state.', {
      processed: 'sum(rate(fhir_connector_processed_total[$__rate_interval]))',
      failed: 'sum(rate(fhir_connector_failed_total[$__rate_interval]))',
      superseded: 'sum(rate(fhir_superseded_total[$__rate_interval]))',
    })
      .unit(EventsPerSecond)
      .overrideByName('failed', [fixed('red')])
      .span(8),
    lines('Call latency', 'Time of one call to the FHIR server.', quantilesOf('fhir_call_latency_seconds'))
      .unit(Seconds)
      .fillOpacity(0)
      .span(8),
    byCode('Call errors by code', 'Calls that failed, by fault code.', 'fhir_call_errors_total').span(8),
    byCode(
      'Retries by code',
      'Deliveries to be tried again, by the fault code of the failed try.',
      'fhir_retries_total',
    ).span(8),
    lines(
      'Deliveries',
      'In flight: being sent. Queued: waiting in the lanes. In one Bundle: patients, on average; 0 where each goes alone.',
      {
        'in flight': 'sum(fhir_deliveries_in_flight)',
        queued: 'sum(fhir_deliveries_queued)',
        'in one Bundle':
          'sum(increase(fhir_bundle_patients_sum[$__rate_interval])) / clamp_min(sum(increase(fhir_bundle_patients_count[$__rate_interval])), 1)',
      },
    )
      .unit(Short)
      .span(8),
    stateOverTime('FHIR server', 'Whether sends flowed when.', 'fhir_breaker_state').span(8),
  ],
};
