// The connector as a process: its version, and what it takes of the machine.

import { BigValueColorMode, BigValueTextMode } from '@grafana/grafana-foundation-sdk/common';
import { BytesIEC, PercentUnit, Seconds } from '@grafana/grafana-foundation-sdk/units';
import { figure, lines } from './panel.ts';
import type { Row } from './row.ts';

export const nodeProcess: Row = {
  title: 'Process',
  panels: [
    figure(
      'Version',
      'Version of the connector and of Node.',
      'fhir_connector_build_info',
      '{{version}} on Node {{node}}',
    )
      .textMode(BigValueTextMode.Name)
      .colorMode(BigValueColorMode.None)
      .span(6)
      .height(8),
    lines('CPU', 'Share of one core.', {
      'CPU {{shard}}': 'sum by (shard) (rate(process_cpu_seconds_total[$__rate_interval]))',
    })
      .unit(PercentUnit)
      .span(6),
    lines('Memory', 'Resident memory, and the used part of the JavaScript heap.', {
      'resident {{shard}}': 'sum by (shard) (process_resident_memory_bytes)',
      'heap used {{shard}}': 'sum by (shard) (nodejs_heap_size_used_bytes)',
    })
      .unit(BytesIEC)
      .fillOpacity(0)
      .span(6),
    lines('Event loop', 'How late the event loop was.', {
      p50: 'max(nodejs_eventloop_lag_p50_seconds)',
      p99: 'max(nodejs_eventloop_lag_p99_seconds)',
    })
      .unit(Seconds)
      .fillOpacity(0)
      .span(6),
  ],
};
