// The files that Grafana and Prometheus read are what the rules in grafana/alerts make, and what they say is true of the code.
// After a change there: npm run snapshots

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { grafanaRules } from '../../grafana/alerts/grafana.ts';
import { expressionOf, prometheusRules } from '../../grafana/alerts/prometheus.ts';
import { groups, rules } from '../../grafana/alerts/rules.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';

const GRAFANA = 'grafana/provisioning/alerting/fhir_connector.yml';
const PROMETHEUS = 'prometheus_rules.yml';
const text = grafanaRules(groups);
const pathOf = (path: string) => new URL(`../../${path}`, import.meta.url).pathname;
const read = (path: string) => readFileSync(pathOf(path), 'utf8');

describe('the generated files', () => {
  test('are what Grafana provisions', () => expect(text).toMatchFileSnapshot(pathOf(GRAFANA)));
  test('are what Prometheus evaluates', () => expect(prometheusRules(groups)).toMatchFileSnapshot(pathOf(PROMETHEUS)));
});

describe('the rules', () => {
  test('ask only for metrics that a scrape of the connector brings', async () => {
    const scrape = await createMetrics().registry.metrics();
    const names = new Set(['up', ...[...scrape.matchAll(/^(\w+)[ {]/gm)].map(([, name]) => name)]);
    for (const { name, value } of rules) {
      const asked = value.replaceAll(/"[^"]*"/g, '').match(/\bfhir_\w+|\bup\b/g) ?? [];
      expect(asked, name).not.toEqual([]);
      for (const metric of asked) expect(names, name).toContain(metric);
    }
  });

  test('name the number that fires where they say how to write it, and nowhere else', () => {
    for (const { name, summary, format } of rules) expect(summary.includes('{value}'), name).toBe(format !== undefined);
  });

  test('name their own number where no number fires too: it would not be there', () => {
    for (const { name, noData, format } of rules) if (noData.state === 'Alerting') expect(format, name).toBeUndefined();
  });

  test('watch all that must not go unseen', () => {
    const all = rules.map(expressionOf).join('\n');
    for (const metric of [
      'up{job="fhir_connector"}',
      'fhir_slot_active',
      'fhir_shards',
      'fhir_slot_confirmed_lag_bytes',
      'fhir_slot_retained_bytes',
      'fhir_slot_safe_wal_bytes',
      'fhir_slot_state',
      'fhir_since_progress_seconds',
      'fhir_outbox_lag_seconds',
      'fhir_outbox_unprocessed_count',
      'fhir_dlq_total',
      'fhir_retries_total',
      'fhir_call_latency_seconds_bucket',
      'fhir_breaker_state',
      'fhir_drift',
      'fhir_cleanup_failures_total',
    ])
      expect(all).toContain(metric);
  });
});

/** What Grafana's reader of provisioning files demands and would take, as far as it can be said without Grafana. */
const query = z.strictObject({
  refId: z.string(),
  datasourceUid: z.string(),
  relativeTimeRange: z.strictObject({ from: z.int(), to: z.int() }),
  model: z.looseObject({ refId: z.string(), datasource: z.object({ uid: z.string() }) }),
});
const rule = z.strictObject({
  uid: z.string().regex(/^[\w-]{1,40}$/),
  title: z.string().min(1).max(190),
  condition: z.string(),
  data: z.array(query).length(3),
  noDataState: z.enum(['NoData', 'Alerting', 'OK', 'KeepLast']),
  execErrState: z.enum(['Error', 'Alerting', 'OK', 'KeepLast']),
  for: z.string().regex(/^\d+s$/),
  annotations: z.record(z.string(), z.string()),
  labels: z.strictObject({ severity: z.enum(['critical', 'warning']) }),
  isPaused: z.literal(false),
});
const file = z.strictObject({
  apiVersion: z.literal(1),
  groups: z.array(
    z.strictObject({
      orgId: z.literal(1),
      name: z.string(),
      folder: z.string(),
      interval: z.string(),
      rules: z.array(rule),
    }),
  ),
});

describe("Grafana's file", () => {
  const provisioned = file.parse(parse(text)).groups.flatMap((group) => group.rules);

  test('has every rule once, under an id of its own', () => {
    expect(provisioned.map(({ title }) => title)).toEqual(rules.map(({ name }) => name));
    expect(new Set(provisioned.map(({ uid }) => uid)).size).toBe(rules.length);
  });

  test('asks the provisioned datasource for an instant, reduces that to a number, and compares it', () => {
    const uid = /^\s+uid: (\S+)$/m.exec(read('grafana/provisioning/datasources/datasource.yml'))?.[1];
    for (const [at, { condition, data }] of provisioned.entries()) {
      const { value, fires } = rules[at] ?? {};
      expect(condition).toBe('C');
      expect(data.map(({ refId, model }) => [refId, model.refId])).toEqual([...'ABC'].map((id) => [id, id]));
      for (const each of data) expect(each.model.datasource.uid).toBe(each.datasourceUid);
      expect(data.map(({ datasourceUid }) => datasourceUid)).toEqual([uid, '__expr__', '__expr__']);
      expect(data[0]?.model).toMatchObject({ expr: value, instant: true, range: false });
      expect(data[1]?.model).toMatchObject({ type: 'reduce', expression: 'A', reducer: 'last' });
      const [type, params] = fires && 'above' in fires ? ['gt', [fires.above]] : ['lt', [fires?.below]];
      expect(data[2]?.model).toMatchObject({
        type: 'threshold',
        expression: 'B',
        conditions: [{ evaluator: { type, params } }],
      });
    }
  });

  test('puts the rules where the dashboard is', () => {
    const folder = /^ {4}folder: (.+)$/m.exec(read('grafana/provisioning/dashboards/dashboard.yml'))?.[1];
    for (const group of parse(text).groups) expect(group.folder).toBe(folder);
  });

  // Grafana expands $NAME and ${NAME} in some of the texts, as a variable of its environment: https://grafana.com/docs/grafana/latest/administration/provisioning/
  test('holds no dollar but in the templates of annotations', () => {
    const texts = text.replaceAll(/\$values\.B\.Value|\$labels\.shard/g, '');
    expect(texts).not.toContain('$');
  });

  test('lets nothing but ConnectorDown ring when Prometheus cannot be asked', () => {
    const ringing = provisioned.filter(({ execErrState }) => execErrState !== 'KeepLast');
    expect(ringing.map(({ title, execErrState }) => [title, execErrState])).toEqual([['ConnectorDown', 'Alerting']]);
  });

  test('takes the silence of the connector for what is feared, where the connector alone could tell it', () => {
    const feared = provisioned.filter(({ noDataState }) => noDataState === 'Alerting').map(({ title }) => title);
    expect(feared).toEqual(['ConnectorDown', 'SlotInactive']);
  });
});
