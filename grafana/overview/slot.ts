// The replication slot: its state and the connector's, the WAL that it keeps, and what did not come through it.

import { AxisPlacement, GraphDrawStyle, LineInterpolation } from '@grafana/grafana-foundation-sdk/common';
import { BoolOnOff, BytesIEC, Seconds, Short } from '@grafana/grafana-foundation-sdk/units';
import { lines, stateOverTime } from './panel.ts';
import type { Row } from './row.ts';

export const slot: Row = {
  title: 'Replication slot',
  panels: [
    stateOverTime(
      'Slot state',
      'wal_status of pg_replication_slots; missing: no such slot; unknown: PostgreSQL cannot be asked.',
      'fhir_slot_state',
    ).span(8),
    lines(
      'WAL kept for the slot',
      'Retained: on disk for the slot. Unconfirmed: written since the confirmed position. Headroom: until the slot may be lost.',
      {
        'retained {{shard}}': 'max by (shard) (fhir_slot_retained_bytes)',
        'unconfirmed {{shard}}': 'max by (shard) (fhir_slot_confirmed_lag_bytes)',
        'headroom {{shard}}': 'min by (shard) (fhir_slot_safe_wal_bytes)',
      },
    )
      .unit(BytesIEC)
      .fillOpacity(0)
      .span(8),
    lines('Heartbeat and hold', 'Round trip of a message through the slot, and whether a connector holds it.', {
      'round trip {{shard}}': 'max by (shard) (fhir_heartbeat_seconds)',
      'slot active {{shard}}': 'max by (shard) (fhir_slot_active)',
    })
      .unit(Seconds)
      .fillOpacity(0)
      .overrideByRegexp('/^slot active/', [
        { id: 'unit', value: BoolOnOff },
        { id: 'custom.axisPlacement', value: AxisPlacement.Right },
        { id: 'max', value: 1 },
        { id: 'custom.drawStyle', value: GraphDrawStyle.Line },
        { id: 'custom.lineInterpolation', value: LineInterpolation.StepAfter },
      ])
      .span(8),
    stateOverTime('Connector state', 'What the connector did when.', 'fhir_connector_state').span(8),
    lines(
      'Reconnects and catch-ups',
      'Replication connections opened again, and catch-ups from the outbox table, in the last hour.',
      {
        reconnects: 'sum(increase(fhir_reconnects_total[1h]))',
        'catch-ups': 'sum(increase(fhir_catch_ups_total[1h]))',
      },
    )
      .unit(Short)
      .span(8),
    lines(
      'Rows not seen in the stream',
      'Rows the slot had skipped (delivered by the sweep), and rows someone removed before they were recorded, in the last hour.',
      {
        'skipped by the slot': 'sum(increase(fhir_skipped_rows_total[1h]))',
        removed: 'sum(increase(fhir_removed_rows_total[1h]))',
      },
    )
      .unit(Short)
      .span(8),
  ],
};
