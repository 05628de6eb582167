// What is looked at first: each figure says by its colour whether it is well.

import { MappingType } from '@grafana/grafana-foundation-sdk/dashboard';
import { BytesIEC, Seconds, Short } from '@grafana/grafana-foundation-sdk/units';
import { figure, stateNow } from './panel.ts';
import type { Row } from './row.ts';
import { steps, whenNaN } from './value.ts';

const HOUR = 3600;
const DAY = 24 * HOUR;
const GIBIBYTE = 1024 ** 3;

// Without max_slot_wal_keep_size.
const NO_LIMIT = whenNaN({ text: 'no limit', color: 'green' });

export const health: Row = {
  title: 'Health: does data flow, how far behind is it, how long will the disk hold?',
  panels: [
    figure(
      'Connector',
      'Whether Prometheus reaches the connector; of several shards, one of each.',
      'max(up{job="fhir_connector"}) * (count(count by (shard) (fhir_shards)) >= bool max(fhir_shards))',
    )
      .mappings([
        {
          type: MappingType.ValueToText,
          options: {
            0: { text: 'DOWN', color: 'red', index: 0 },
            1: { text: 'UP', color: 'green', index: 1 },
          },
        },
      ])
      .noValue('DOWN')
      .thresholds(steps('red', [1, 'green']))
      .span(2),
    stateNow(
      'State',
      'What the connector does now. Standby is healthy: another connector holds the slot.',
      'fhir_connector_state',
    ).span(3),
    stateNow(
      'FHIR server',
      'flowing; outage: it does not answer; refusing: it answers and refuses everything. Neither loses data: the slot keeps the WAL.',
      'fhir_breaker_state',
    ).span(3),
    figure('Behind', 'Age of the oldest outbox row that is not processed.', 'max(fhir_outbox_lag_seconds)')
      .unit(Seconds)
      .decimals(1)
      .mappings([whenNaN({ text: 'unknown' })])
      .thresholds(steps('green', [1, 'yellow'], [5, 'orange'], [30, 'red']))
      .span(3),
    figure(
      'WAL runway',
      'How long the slot holds at the growth of the last ten minutes before PostgreSQL may give it up (max_slot_wal_keep_size).',
      'min(fhir_slot_safe_wal_bytes / clamp_min(deriv(fhir_slot_retained_bytes[10m]), 1))',
    )
      .unit(Seconds)
      .decimals(1)
      .mappings([
        NO_LIMIT,
        {
          type: MappingType.RangeToText,
          options: { from: 30 * DAY, to: null, result: { text: '> 30 d', color: 'green', index: 1 } },
        },
      ])
      .thresholds(steps('red', [HOUR, 'orange'], [4 * HOUR, 'green']))
      .span(3),
    figure(
      'WAL headroom',
      'WAL that can still be written before the slot may be lost.',
      'min(fhir_slot_safe_wal_bytes)',
    )
      .unit(BytesIEC)
      .mappings([NO_LIMIT])
      .thresholds(steps('red', [GIBIBYTE, 'orange'], [4 * GIBIBYTE, 'green']))
      .span(3),
    figure('Dead letters', 'Unresolved entries of fhir_dlq.', 'sum(max by (shard) (fhir_dlq_total))')
      .unit(Short)
      .mappings([whenNaN({ text: 'unknown' })])
      .thresholds(steps('green', [1, 'red']))
      .span(2),
    figure(
      'Triggers off',
      'Triggers of the connector that are missing or disabled: such changes never reach the FHIR server by themselves.',
      'max(fhir_triggers_off)',
    )
      .unit(Short)
      .mappings([whenNaN({ text: 'unknown' })])
      .thresholds(steps('green', [1, 'red']))
      .span(2),
    figure(
      'PostgreSQL told',
      'Since when the figures of slot, outbox and dead letters are: they are the last known ones while PostgreSQL does not tell.',
      'max(min by (shard) (fhir_database_age_seconds))',
    )
      .unit(Seconds)
      .decimals(0)
      .thresholds(steps('green', [15, 'orange'], [30, 'red']))
      .span(3),
  ],
};
