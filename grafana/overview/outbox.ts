// The outbox: how much waits, how old it is, and how long a change takes to the FHIR server.

import { AxisPlacement } from '@grafana/grafana-foundation-sdk/common';
import { Seconds, Short } from '@grafana/grafana-foundation-sdk/units';
import { figure, lines } from './panel.ts';
import { quantilesOf } from './quantiles.ts';
import type { Row } from './row.ts';
import { steps, whenNaN } from './value.ts';

const SECONDS_ON_THE_RIGHT = [
  { id: 'unit', value: Seconds },
  { id: 'custom.axisPlacement', value: AxisPlacement.Right },
];

export const outbox: Row = {
  title: 'Outbox',
  panels: [
    figure(
      'Unprocessed rows',
      'Rows of fhir_outbox that are not processed.',
      'sum(max by (shard) (fhir_outbox_unprocessed_count))',
    )
      .unit(Short)
      .mappings([whenNaN({ text: 'unknown' })])
      .thresholds(steps('green', [100, 'yellow'], [1000, 'red']))
      .span(4),
    lines('Outbox trend', 'The backlog, the age of its oldest row, and the age that alerts.', {
      'unprocessed rows {{shard}}': 'max by (shard) (fhir_outbox_unprocessed_count)',
      'lag {{shard}}': 'max by (shard) (fhir_outbox_lag_seconds)',
      'lag that alerts': 'max(fhir_outbox_lag_limit_seconds)',
    })
      .unit(Short)
      .overrideByRegexp('/^lag/', SECONDS_ON_THE_RIGHT)
      .span(10),
    lines(
      'Commit to FHIR',
      'From the commit in PostgreSQL to the answer of the FHIR server.',
      quantilesOf('fhir_commit_to_put_seconds'),
    )
      .unit(Seconds)
      .fillOpacity(0)
      .span(10),
    figure(
      'Since progress',
      'Time since a delivery was finished or the slot moved; of several shards, in the one where it is longest ago.',
      'max(min by (shard) (fhir_since_progress_seconds))',
    )
      .unit(Seconds)
      .decimals(0)
      .thresholds(steps('green', [30, 'yellow'], [120, 'red']))
      .span(4),
  ],
};
