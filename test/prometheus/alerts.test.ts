// The alerts in a real Prometheus that scrapes two connectors, which are held by a FHIR server that is away, and stopped.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { prometheusRules } from '../../grafana/alerts/prometheus.ts';
import { groups, rules } from '../../grafana/alerts/rules.ts';
import { runCommand } from '../support/command.ts';
import { type ConnectorProcess, connectorEnvironment, spawnConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { type Prometheus, startPrometheus } from './prometheus.ts';

/** prometheus.yml scrapes and evaluates every five seconds. */
const PATIENCE = { timeout: 90_000, interval: 250 };
/** A `for` of five minutes is five seconds here; what the expressions say stays. */
const TIME_SCALE = 60;
const noProgress = rules.find(({ name }) => name === 'NoProgress')?.value ?? '';

let database: TestDatabase;
let sink: FhirSink;
let prometheus: Prometheus;
/** By the port of its metrics, which stays when one is started again. */
const running = new Map<number, ConnectorProcess>();
let holder: number;
let standby: number;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`ALTER SYSTEM SET max_slot_wal_keep_size = '8GB'`);
  await database.pool.query('SELECT pg_reload_conf()');
  sink = await FhirSink.start();
  holder = await start();
  await vi.waitUntil(async () => (await stateOf(holder)) === 'streaming', PATIENCE);
  standby = await start();
  await vi.waitUntil(async () => (await stateOf(standby)) === 'standby', PATIENCE);
  // The first figures of the database are there: a derivative over NaN is NaN.
  for (const port of [holder, standby])
    await vi.waitUntil(async () => /^fhir_slot_safe_wal_bytes \d/m.test(await metricsOf(port)), PATIENCE);
  prometheus = await startPrometheus(
    [holder, standby].map((port) => `127.0.0.1:${port}`),
    prometheusRules(groups, TIME_SCALE),
  );
});

afterAll(async () => {
  await prometheus?.stop();
  for (const port of running.keys()) await end(port, 'SIGKILL');
  await sink?.stop();
  await database?.drop();
});

/** Port 0 takes any free one. */
async function start(port = 0): Promise<number> {
  const environment = { ...connectorEnvironment(database, sink.url), OUTBOX_LAG_ALERT_SECONDS: '5' };
  const connector = spawnConnector({ ...environment, METRICS_PORT: String(port) });
  const taken = await vi.waitUntil(() => connector.log.find(({ metricsPort }) => metricsPort), PATIENCE);
  running.set(Number(taken.metricsPort), connector);
  return Number(taken.metricsPort);
}

async function end(port: number, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  const connector = running.get(port);
  connector?.child.kill(signal);
  await connector?.exited;
  running.delete(port);
}

const metricsOf = async (port: number) => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();

async function stateOf(port: number): Promise<string> {
  return ((await (await fetch(`http://127.0.0.1:${port}/readyz`)).json()) as { state: string }).state;
}

async function numberOf(expression: string): Promise<number | undefined> {
  return (await prometheus.query(expression))[0]?.value;
}

const addPatient = (value: string) =>
  database.pool.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', $1)`, [value]);

const expectFiring = (names: string[]) => expect.poll(() => prometheus.firing(), PATIENCE).toEqual(names);

describe('while one connector works and the other stands by', () => {
  beforeAll(async () => {
    // A rate needs two scrapes, and something between them.
    for (const [delivered, patient] of ['first', 'second'].entries()) {
      await addPatient(patient);
      await vi.waitUntil(
        async () => (await numberOf('max(fhir_connector_processed_total)')) === delivered + 1,
        PATIENCE,
      );
    }
    await runCommand(connectorEnvironment(database, sink.url), 'verify');
    await vi.waitUntil(async () => (await numberOf('sum(fhir_drift{scope="all"})')) === 0, PATIENCE);
  });

  test.each(rules.map(({ name, value }) => [name, value] as const))('%s has one number', async (_, value) => {
    const series = await prometheus.query(value);
    expect(series).toEqual([{ labels: {}, value: expect.any(Number) }]);
    expect(series[0]?.value).not.toBeNaN();
  });

  test('nothing fires', async () => {
    // Every rule has been evaluated since, and none waits for its time.
    expect(await prometheus.firing()).toEqual([]);
    expect(await prometheus.query('ALERTS')).toEqual([]);
  });
});

describe('while the FHIR server is away', () => {
  test('NoProgress fires, with BreakerOpen and OutboxAge, though a young standby has waited for less', async () => {
    await sink.stop();
    await addPatient('held');
    await expect.poll(() => numberOf(noProgress), PATIENCE).toBeGreaterThan(20);
    await end(standby, 'SIGTERM');
    await start(standby);
    await expectFiring(['BreakerOpen', 'NoProgress', 'OutboxAge']);
    expect(await numberOf('min(fhir_since_progress_seconds)')).toBeLessThan(30);
    expect(await numberOf(noProgress)).toBeGreaterThan(30);
  });

  test('none of them fires any more once it is back and the change has arrived', async () => {
    await sink.resume();
    await expectFiring([]);
    expect(sink.putsOf('held')).toHaveLength(1);
  });
});

describe('when connectors are stopped', () => {
  test('SlotInactive does not fire when the standby takes over', async () => {
    await end(holder, 'SIGTERM');
    await expect.poll(() => stateOf(standby), PATIENCE).toBe('streaming');
    await expectFiring(['StandbyDown']);
    // Not for a moment, since the holder is gone.
    expect(await prometheus.query('max_over_time(ALERTS{alertname="SlotInactive", alertstate="firing"}[1m])')).toEqual(
      [],
    );
  });

  test('SlotInactive fires when nobody does, though the figure of the slot has gone with the connector', async () => {
    await end(standby, 'SIGTERM');
    await expectFiring(['ConnectorDown', 'SlotInactive']);
    expect(await prometheus.query('fhir_slot_active')).toEqual([]);
  });

  test('nothing fires any more once both are started again', async () => {
    await start(holder);
    await start(standby);
    await expectFiring([]);
  });
});
