// Puts the rows together to the dashboard that Grafana reads: https://grafana.com/docs/grafana/latest/visualizations/dashboards/build-dashboards/view-dashboard-json-model/

import {
  DashboardBuilder,
  DashboardCursorSync,
  type Panel,
  RowBuilder,
  type RowPanel,
  TimePickerBuilder,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { deadLetters } from './dead-letters.ts';
import { fhirCalls } from './fhir-calls.ts';
import { health } from './health.ts';
import { outbox } from './outbox.ts';
import { nodeProcess } from './process.ts';
import { placed, type Row, WIDTH } from './row.ts';
import { slot } from './slot.ts';
import { verification } from './verification.ts';

const ROWS = [health, outbox, slot, fhirCalls, deadLetters, verification, nodeProcess];

/** The text of grafana/dashboards/fhir_connector_dashboard.json. */
export function dashboardJson(): string {
  // The library calls this schema old. The new one is an experiment in the Grafana of docker-compose.yml.
  const dashboard = new DashboardBuilder('FHIR Connector — Metrics Overview')
    .uid('fhir-connector-overview')
    .description(
      "Patients' changes from PostgreSQL to the FHIR server: health first, then each stage in the order of the data.",
    )
    .tags(['fhir', 'connector'])
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .version(1)
    .refresh('5s')
    .time({ from: 'now-30m', to: 'now' })
    .timepicker(new TimePickerBuilder().refreshIntervals(['5s', '10s', '30s', '1m', '5m']))
    // Empty, and there, as Grafana itself writes them.
    .variables([])
    .annotations([])
    .links([])
    .weekStart('')
    .build();
  return `${JSON.stringify({ ...dashboard, panels: panelsOf(ROWS) }, null, 2)}\n`;
}

/** Row by row from the top, with ids in that order. */
function panelsOf(rows: readonly Row[]) {
  const panels: (Panel | RowPanel)[] = [];
  let top = 0;
  for (const { title, panels: builders } of rows) {
    const below = placed(
      builders.map((panel) => panel.build()),
      top + 1,
    );
    panels.push(new RowBuilder(title).gridPos({ x: 0, y: top, w: WIDTH, h: 1 }).build(), ...below);
    top = Math.max(...below.map(({ gridPos }) => gridPos.y + gridPos.h));
  }
  return panels.map((panel, at) => ({ ...panel, id: at + 1 }));
}
