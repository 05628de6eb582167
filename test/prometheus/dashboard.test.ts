// Every query of the dashboard on a real Prometheus that scrapes a running connector: each has numbers to show.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { runCommand } from '../support/command.ts';
import { type ConnectorProcess, connectorEnvironment, spawnConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { type Prometheus, promtool, startPrometheus } from './prometheus.ts';

/** prometheus.yml scrapes every five seconds, and the connector samples its gauges as often. */
const PATIENCE = { timeout: 60_000, interval: 250 };

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}
const { panels } = JSON.parse(readFileSync('grafana/dashboards/fhir_connector_dashboard.json', 'utf8')) as {
  panels: Panel[];
};
/** Grafana puts in at least four scrape intervals: https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/ */
const expressions = panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => [title, expr.replaceAll('$__rate_interval', '1m')] as const),
);

let database: TestDatabase;
let sink: FhirSink;
let connector: ConnectorProcess;
let prometheus: Prometheus;

beforeAll(async () => {
  database = await createDatabase();
  // As in postgres.conf: without a limit there is no WAL headroom to show.
  await database.pool.query(`ALTER SYSTEM SET max_slot_wal_keep_size = '8GB'`);
  await database.pool.query('SELECT pg_reload_conf()');
  sink = await FhirSink.start();
  connector = spawnConnector(connectorEnvironment(database, sink.url));
  const metricsPort = await vi.waitUntil(
    () => connector.log.find(({ metricsPort }) => typeof metricsPort === 'number')?.metricsPort,
    PATIENCE,
  );
  // A rate over a gauge that was not known at one of its scrapes is not known either.
  await vi.waitUntil(async () => /^fhir_slot_safe_wal_bytes \d/m.test(await metricsOf(metricsPort)), PATIENCE);
  prometheus = await startPrometheus([`127.0.0.1:${metricsPort}`]);
  // A rate needs two scrapes, and something between them: the second patient is committed after the first was scraped.
  for (const [scraped, patient] of ['first', 'second'].entries()) {
    await database.pool.query('INSERT INTO patient (identifier_system, identifier_value) VALUES ($1, $2)', [
      'urn:t',
      patient,
    ]);
    await vi.waitUntil(async () => (await firstValue('fhir_connector_processed_total')) === scraped + 1, PATIENCE);
  }
  for (const sample of [[], ['--sample', '1']])
    expect(await runCommand(connectorEnvironment(database, sink.url), 'verify', ...sample)).toMatchObject({
      status: 0,
    });
  // The gauges are sampled on their own beat.
  await vi.waitUntil(async () => (await firstValue('fhir_outbox_unprocessed_count')) === 0, PATIENCE);
  await vi.waitUntil(async () => (await firstValue('sum(fhir_drift)')) === 0, PATIENCE);
});

afterAll(async () => {
  await prometheus?.stop();
  connector?.child.kill('SIGTERM');
  await connector?.exited;
  await sink?.stop();
  await database?.drop();
});

async function metricsOf(port: unknown): Promise<string> {
  return (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
}

async function firstValue(expression: string): Promise<number | undefined> {
  return (await prometheus.query(expression))[0]?.value;
}

describe('prometheus.yml', () => {
  test('is what promtool accepts', async () => {
    const { stdout } = await promisify(execFile)(promtool, ['check', 'config', 'prometheus.yml']);
    expect(stdout).toContain('SUCCESS: prometheus.yml is valid');
    expect(stdout).toMatch(/SUCCESS: \d+ rules found/);
  });

  test('makes Prometheus scrape the connector under the job name that the dashboard asks for', async () => {
    expect(await firstValue('up{job="fhir_connector"}')).toBe(1);
  });
});

describe('the dashboard', () => {
  test('has queries', () => {
    expect(expressions.length).toBeGreaterThan(20);
  });

  test.each(expressions)('has numbers for %s: %s', async (_, expression) => {
    const series = await prometheus.query(expression);
    expect(series).not.toEqual([]);
    for (const { labels, value } of series) expect(value, JSON.stringify(labels)).not.toBeNaN();
  });

  test('shows numbers for the figures that are watched first', async () => {
    const firstFigures = {
      'max(up{job="fhir_connector"})': 1,
      'max(fhir_outbox_unprocessed_count)': 0,
      'max(fhir_outbox_lag_seconds)': 0,
      'max(fhir_dlq_total)': 0,
      'sum(rate(fhir_connector_processed_total[1m]))': expect.toSatisfy((rate: number) => rate > 0),
      'sum(rate(fhir_connector_failed_total[1m]))': 0,
    };
    for (const [expression, value] of Object.entries(firstFigures))
      expect(await firstValue(expression), expression).toEqual(value);
    const quantiles = expressions.filter(([, expression]) => expression.startsWith('histogram_quantile'));
    expect(quantiles).toHaveLength(6);
    for (const [, expression] of quantiles) expect(await firstValue(expression), expression).toBeGreaterThan(0);
    for (const { labels, value } of await prometheus.query('sum by (code) (rate(fhir_call_errors_total[1m]))')) {
      expect(labels.code).toBeTypeOf('string');
      expect(value).toBe(0);
    }
  });
});
