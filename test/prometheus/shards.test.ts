// Alerts and dashboard in a real Prometheus that scrapes the connectors of two shards, of which one is held and then killed.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { prometheusRules } from '../../grafana/alerts/prometheus.ts';
import { groups, rules } from '../../grafana/alerts/rules.ts';
import { dashboardJson } from '../../grafana/overview/dashboard.ts';
import { runCommand } from '../support/command.ts';
import { type ConnectorProcess, connectorEnvironment, spawnConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { type Prometheus, startPrometheus } from './prometheus.ts';

/** prometheus.yml scrapes and evaluates every five seconds. */
const PATIENCE = { timeout: 90_000, interval: 250 };
/** A `for` of five minutes is five seconds here; what the expressions say stays. */
const TIME_SCALE = 60;

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}
const { panels } = JSON.parse(dashboardJson()) as { panels: Panel[] };
/** Of Grafana's at least four scrape intervals. */
const queries = panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr, legendFormat }) => ({
    title,
    legendFormat,
    expression: expr.replaceAll('$__rate_interval', '1m'),
  })),
);

let database: TestDatabase;
let sink: FhirSink;
let prometheus: Prometheus;
let connectors: ConnectorProcess[];

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`ALTER SYSTEM SET max_slot_wal_keep_size = '8GB'`);
  await database.pool.query('SELECT pg_reload_conf()');
  sink = await FhirSink.start();
  const environment = {
    ...connectorEnvironment(database, sink.url),
    OUTBOX_LAG_ALERT_SECONDS: '5',
    FHIR_TIMEOUT_MS: '120000',
    SHARD_COUNT: '2',
  };
  connectors = [0, 1].map((index) => spawnConnector({ ...environment, SHARD_INDEX: String(index) }));
  const ports = await Promise.all(
    connectors.map(({ log }) => vi.waitUntil(() => log.find(({ metricsPort }) => metricsPort)?.metricsPort, PATIENCE)),
  );
  // A derivative over NaN is NaN.
  for (const port of ports)
    await vi.waitUntil(async () => {
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      return /^fhir_slot_safe_wal_bytes\{\S+ \d/m.test(text) && /^fhir_slot_active\{\S+ 1$/m.test(text);
    }, PATIENCE);
  prometheus = await startPrometheus(
    ports.map((port) => `127.0.0.1:${port}`),
    prometheusRules(groups, TIME_SCALE),
  );
  // A rate needs two scrapes, and something between them; even numbers are of shard 0.
  for (const [scraped, id] of [1, 3].entries()) {
    await addPatients(id - 1, id);
    const delivered = `count(fhir_connector_processed_total == ${scraped + 1})`;
    await vi.waitUntil(async () => (await numberOf(delivered)) === 2, PATIENCE);
  }
  await runCommand(environment, 'verify');
  await vi.waitUntil(async () => (await numberOf('sum(fhir_drift{scope="all"})')) === 0, PATIENCE);
  await vi.waitUntil(async () => (await numberOf('max(fhir_outbox_unprocessed_count)')) === 0, PATIENCE);
});

afterAll(async () => {
  await prometheus?.stop();
  for (const { child, exited } of connectors ?? []) {
    child.kill('SIGKILL');
    await exited;
  }
  await sink?.stop();
  await database?.drop();
});

async function numberOf(expression: string): Promise<number | undefined> {
  return (await prometheus.query(expression))[0]?.value;
}

const addPatients = (...ids: number[]) =>
  database.pool.query(
    `INSERT INTO patient (id, identifier_system, identifier_value) SELECT id, 'urn:t', 'p' || id FROM unnest($1::int[]) AS id`,
    [ids],
  );

const shardsOf = (series: readonly { readonly labels: Record<string, string> }[]) =>
  series.map(({ labels: { shard } }) => shard).toSorted();

/** The names of the alerts that fire, with the shard. */
async function firing(): Promise<string[]> {
  const series = await prometheus.query('ALERTS{alertstate="firing"}');
  return series.map(({ labels: { alertname, shard } }) => [alertname, shard].join(' ').trim()).toSorted();
}

describe('while the connectors of both work', () => {
  test('each series that a connector has is that of a shard', async () => {
    expect(await prometheus.query('{job="fhir_connector", shard="", __name__=~"(fhir|process|nodejs)_.+"}')).toEqual(
      [],
    );
    expect(shardsOf(await prometheus.query('fhir_shards == 2'))).toEqual(['0', '1']);
  });

  test.each(rules)('$name has a number for each where it names one, else one for all', async ({ summary, value }) => {
    const series = await prometheus.query(value);
    expect(shardsOf(series)).toEqual(summary.includes('{shard}') ? ['0', '1'] : [undefined]);
    for (const each of series) expect(each.value).not.toBeNaN();
  });

  test('nothing fires', async () => {
    expect(await prometheus.query('ALERTS')).toEqual([]);
  });

  test.each(queries)('$title: $expression has a line for each where its legend says so', async (query) => {
    const series = await prometheus.query(query.expression);
    const ofEach = query.legendFormat.includes('{{shard}}');
    expect(series).not.toEqual([]);
    if (ofEach) expect(shardsOf(series)).toEqual(['0', '1']);
    else if (!/\{\{\w/.test(query.legendFormat)) expect(series).toHaveLength(1);
  });

  test('the states are shares of all', async () => {
    for (const { expression } of queries.filter(({ expression: each }) => each.startsWith('avg by (state)')))
      expect(await numberOf(`sum(${expression})`)).toBe(1);
  });
});

describe('while a delivery of one hangs, and the other one works', () => {
  test('NoProgress and OutboxAge fire for that one alone', async () => {
    sink.script((body) => (JSON.stringify(body).includes('"p5"') ? new Promise(() => undefined) : undefined));
    await addPatients(5);
    let even = 100;
    const firingBesideWork = async () => {
      even += 2;
      await addPatients(even);
      return firing();
    };
    await expect.poll(firingBesideWork, PATIENCE).toEqual(['NoProgress 1', 'OutboxAge 1']);
    expect(await numberOf('min(fhir_since_progress_seconds)')).toBeLessThan(30);
  });
});

describe('killed, the only connector of one', () => {
  test('is missed by SlotInactive, though its figures have gone and the other slot is held', async () => {
    connectors[1]?.child.kill('SIGKILL');
    await expect.poll(firing, PATIENCE).toEqual(['SlotInactive', 'StandbyDown']);
    expect(shardsOf(await prometheus.query('fhir_slot_active == 1'))).toEqual(['0']);
  });
});
