// The metrics' names, types and first values, as a scrape shows them.

import { describe, expect, test } from 'vitest';
import { FAULT_TABLE } from '../../src/fhir/faults/fault-table.ts';
import { BREAKER_STATES, CONNECTOR_STATES, createMetrics, SLOT_STATES } from '../../src/metrics/metrics.ts';
import { parseExposition } from './exposition.ts';

const scrape = async (metrics: ReturnType<typeof createMetrics>) => parseExposition(await metrics.registry.metrics());

const ownTypes = {
  fhir_outbox_unprocessed_count: 'gauge',
  fhir_outbox_lag_seconds: 'gauge',
  fhir_outbox_lag_limit_seconds: 'gauge',
  fhir_dlq_total: 'gauge',
  fhir_dlq_oldest_seconds: 'gauge',
  fhir_connector_processed_total: 'counter',
  fhir_connector_failed_total: 'counter',
  fhir_superseded_total: 'counter',
  fhir_call_latency_seconds: 'histogram',
  fhir_bundle_patients: 'histogram',
  fhir_call_errors_total: 'counter',
  fhir_retries_total: 'counter',
  fhir_commit_to_put_seconds: 'histogram',
  fhir_deliveries_in_flight: 'gauge',
  fhir_deliveries_queued: 'gauge',
  fhir_foreign_edits_total: 'counter',
  fhir_breaker_state: 'gauge',
  fhir_slot_state: 'gauge',
  fhir_slot_active: 'gauge',
  fhir_slot_retained_bytes: 'gauge',
  fhir_slot_confirmed_lag_bytes: 'gauge',
  fhir_slot_safe_wal_bytes: 'gauge',
  fhir_heartbeat_seconds: 'gauge',
  fhir_reconnects_total: 'counter',
  fhir_catch_ups_total: 'counter',
  fhir_skipped_rows_total: 'counter',
  fhir_removed_rows_total: 'counter',
  fhir_cleanup_removed_rows_total: 'counter',
  fhir_cleanup_failures_total: 'counter',
  fhir_drift: 'gauge',
  fhir_verification_timestamp_seconds: 'gauge',
  fhir_connector_state: 'gauge',
  fhir_database_age_seconds: 'gauge',
  fhir_triggers_off: 'gauge',
  fhir_since_progress_seconds: 'gauge',
  fhir_connector_build_info: 'gauge',
  fhir_shards: 'gauge',
};

describe('the metrics', () => {
  test('have exactly these names and types, each with a help text and a series from the start', async () => {
    const { types, help, samples } = await scrape(createMetrics());
    expect(Object.fromEntries([...types].filter(([name]) => name.startsWith('fhir_')))).toEqual(ownTypes);
    for (const name of Object.keys(ownTypes)) {
      expect(help.get(name)).toMatch(/^[A-Z0-9w].{15,}$/);
      expect(
        samples.filter((sample) => sample.name.replace(/_(bucket|sum|count)$/, '') === name.replace(/_count$/, '')),
      ).not.toEqual([]);
    }
  });

  test('name their unit in the help when the name ends in one', async () => {
    const { help } = await scrape(createMetrics());
    for (const name of Object.keys(ownTypes)) {
      const unit = /_(seconds|bytes)$/.exec(name)?.[1];
      if (unit !== undefined) expect(help.get(name)).toContain(`in ${unit}`);
    }
    expect(help.get('fhir_since_progress_seconds')).toContain('in seconds');
  });

  test('carry no label but states, fault codes, tables, kinds of drift, versions and bucket bounds', async () => {
    const { samples } = await scrape(createMetrics());
    const own = samples.filter(({ name }) => name.startsWith('fhir_'));
    const labels = new Set(own.flatMap((sample) => Object.keys(sample.labels)));
    expect([...labels].sort()).toEqual(['code', 'kind', 'le', 'node', 'scope', 'state', 'table', 'version']);
  });

  test('count from the start only fault codes that the fault table has', async () => {
    const known = new Set(FAULT_TABLE.map(({ code }) => code));
    const { samples } = await scrape(createMetrics());
    const codes = samples
      .filter(({ name }) => name === 'fhir_call_errors_total')
      .map(({ labels }) => labels.code ?? '');
    expect(codes.length).toBeGreaterThan(5);
    for (const code of codes) expect(known).toContain(code.replace(/^http-\d{3}$/, 'http-*'));
  });

  test('show what is not known yet as NaN, never as a healthy 0', async () => {
    const { samples } = await scrape(createMetrics());
    for (const name of ['fhir_outbox_unprocessed_count', 'fhir_outbox_lag_seconds', 'fhir_slot_confirmed_lag_bytes'])
      expect(samples.filter((sample) => sample.name === name)).toEqual([{ name, labels: {}, value: Number.NaN }]);
  });

  test.each([
    ['fhir_slot_state', SLOT_STATES, 'unknown'],
    ['fhir_breaker_state', BREAKER_STATES, 'flowing'],
    ['fhir_connector_state', CONNECTOR_STATES, 'starting'],
  ] as const)('show %s as one series a state, one of them 1', async (name, states, initial) => {
    const { samples } = await scrape(createMetrics());
    const series = samples.filter((sample) => sample.name === name);
    expect(series.map(({ labels }) => labels.state)).toEqual([...states]);
    expect(series.filter(({ value }) => value === 1).map(({ labels }) => labels.state)).toEqual([initial]);
    expect(series.reduce((sum, { value }) => sum + value, 0)).toBe(1);
  });

  test('move the 1 when the state changes', async () => {
    const metrics = createMetrics();
    metrics.slotState.set('lost');
    metrics.slotState.set('extended');
    const { samples } = await scrape(metrics);
    const ones = samples.filter(({ name, value }) => name === 'fhir_slot_state' && value === 1);
    expect(ones).toEqual([{ name: 'fhir_slot_state', labels: { state: 'extended' }, value: 1 }]);
    expect(metrics.slotState.get()).toBe('extended');
  });

  test('start the time since progress again at 0 with each progress', async () => {
    const metrics = createMetrics();
    const seconds = async () =>
      (await scrape(metrics)).samples.find(({ name }) => name === 'fhir_since_progress_seconds')?.value ?? Number.NaN;
    const first = await seconds();
    await expect.poll(seconds, { interval: 5 }).toBeGreaterThan(first + 0.05);
    const before = await seconds();
    metrics.progressed();
    expect(await seconds()).toBeLessThan(before);
  });

  test('resolve a commit-to-PUT time of milliseconds and one of a minute', async () => {
    const metrics = createMetrics();
    metrics.commitToPut.observe(0.002);
    metrics.commitToPut.observe(59);
    const { samples } = await scrape(metrics);
    const counts = samples
      .filter(({ name }) => name === 'fhir_commit_to_put_seconds_bucket')
      .map(({ labels, value }) => [labels.le, value]);
    expect(counts.at(0)).toEqual(['0.001', 0]);
    expect(counts).toContainEqual(['0.0025', 1]);
    expect(counts).toContainEqual(['60', 2]);
  });

  test('tell the version of the connector and of Node', async () => {
    const { samples } = await scrape(createMetrics());
    expect(samples.find(({ name }) => name === 'fhir_connector_build_info')).toEqual({
      name: 'fhir_connector_build_info',
      labels: { version: expect.stringMatching(/^\d+\.\d+\.\d+/), node: process.version },
      value: 1,
    });
  });

  test('all carry the shard where there are several, those of the process too, and none where there is one', async () => {
    const { samples } = await scrape(createMetrics({ index: 2, count: 4 }));
    expect(samples.filter(({ labels }) => labels.shard !== '2')).toEqual([]);
    expect(samples.find(({ name }) => name === 'fhir_shards')).toMatchObject({ labels: { shard: '2' }, value: 4 });
    const { samples: ofOne } = await scrape(createMetrics());
    expect(ofOne.filter(({ labels }) => 'shard' in labels)).toEqual([]);
    expect(ofOne.find(({ name }) => name === 'fhir_shards')).toEqual({ name: 'fhir_shards', labels: {}, value: 1 });
    const names = (of: typeof samples) =>
      of.map(({ name, labels: { shard: _, ...own } }) => `${name} ${Object.keys(own)}`);
    expect(new Set(names(samples))).toEqual(new Set(names(ofOne)));
  });

  test('come with those of the process, and two sets do not meet', async () => {
    const first = createMetrics();
    const second = createMetrics();
    first.processed.inc(3);
    const processed = async (metrics: typeof first) =>
      (await scrape(metrics)).samples.find(({ name }) => name === 'fhir_connector_processed_total')?.value;
    expect(await processed(first)).toBe(3);
    expect(await processed(second)).toBe(0);
    expect((await scrape(first)).types.get('process_resident_memory_bytes')).toBe('gauge');
  });
});
