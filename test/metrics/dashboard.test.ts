// The Grafana dashboard is what grafana/overview makes, and is held against the code: it asks only for what exists, and shows
// what must be seen. After a change there: npm run snapshots

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { dashboardJson } from '../../grafana/overview/dashboard.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');

const datasourceRef = z.object({ type: z.literal('prometheus'), uid: z.string() });
const target = z.object({ refId: z.string(), expr: z.string().min(1), datasource: datasourceRef });
const panelSchema = z.object({
  id: z.int(),
  type: z.enum(['row', 'stat', 'timeseries']),
  title: z.string().min(1),
  gridPos: z.object({ x: z.int(), y: z.int(), w: z.int().positive(), h: z.int().positive() }),
  description: z.string().optional(),
  datasource: datasourceRef.optional(),
  targets: z.array(target).default([]),
});
const json = dashboardJson();
const dashboard = z
  .object({ uid: z.string(), title: z.string(), schemaVersion: z.int(), panels: z.array(panelSchema) })
  .parse(JSON.parse(json));

const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const queries = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
const metricsIn = (expr: string) =>
  expr.replaceAll(/"[^"]*"/g, '').match(/\b(?:fhir|nodejs|process)_\w+|\bup\b/g) ?? [];

/** Every name a scrape of the connector brings, and `up`, which Prometheus adds. */
async function scrapedNames(): Promise<Set<string>> {
  const text = await createMetrics().registry.metrics();
  return new Set(['up', ...[...text.matchAll(/^(\w+)[ {]/gm)].map(([, name]) => name ?? '')]);
}

describe('the dashboard', () => {
  test('is what Grafana provisions', () =>
    expect(json).toMatchFileSnapshot(new URL('grafana/dashboards/fhir_connector_dashboard.json', root).pathname));

  test('has the title and schema that Grafana is asked for', () => {
    expect(dashboard.title).toBe('FHIR Connector — Metrics Overview');
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(39);
  });

  test('asks only for metrics that the code has', async () => {
    const names = await scrapedNames();
    for (const expr of queries) {
      expect(metricsIn(expr), expr).not.toEqual([]);
      for (const name of metricsIn(expr)) expect(names, expr).toContain(name);
    }
  });

  test('shows every metric that the connector makes itself', async () => {
    const shown = new Set(queries.flatMap(metricsIn));
    for (const { name } of createMetrics().registry.getMetricsAsArray()) {
      if (name.startsWith('fhir_'))
        expect(
          [name, `${name}_bucket`, `${name}_sum`].some((each) => shown.has(each)),
          name,
        ).toBe(true);
    }
  });

  test('shows up, backlog, lag, dead letters, rates, latency quantiles and errors by code', () => {
    const all = queries.join('\n');
    for (const name of [
      'up{job="fhir_connector"}',
      'fhir_outbox_unprocessed_count',
      'fhir_outbox_lag_seconds',
      'fhir_dlq_total',
    ])
      expect(all).toContain(name);
    for (const name of ['fhir_connector_processed_total', 'fhir_connector_failed_total'])
      expect(all).toContain(`rate(${name}[`);
    for (const quantile of ['0.5', '0.9', '0.99'])
      expect(all).toContain(`histogram_quantile(${quantile}, sum by (le) (rate(fhir_call_latency_seconds_bucket[`);
    expect(all).toContain('sum by (code) (rate(fhir_call_errors_total[');
  });

  test('names its datasource by the uid that is provisioned', () => {
    const uid = /^\s+uid: (\S+)$/m.exec(read('grafana/provisioning/datasources/datasource.yml'))?.[1];
    expect(uid).toBe('prometheus');
    for (const panel of panels) {
      expect(panel.datasource?.uid).toBe(uid);
      for (const { datasource } of panel.targets) expect(datasource.uid).toBe(uid);
    }
  });

  test('is mounted where its provider looks for it', () => {
    const path = /^\s+path: (\S+)$/m.exec(read('grafana/provisioning/dashboards/dashboard.yml'))?.[1];
    expect(read('docker-compose.yml')).toContain(`./grafana/dashboards:${path}:ro`);
  });

  test('has panels with ids of their own that do not overlap, each explained', () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    for (const panel of panels) expect(panel.description, panel.title).toMatch(/\.$/);
    const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    for (const { gridPos } of dashboard.panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
  });
});
