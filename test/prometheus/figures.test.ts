// The dashboard's figures on the series of two shards, by promtool: each is of the whole, or of the worst.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { dashboardJson } from '../../grafana/overview/dashboard.ts';
import { SHARD_0, SHARD_1 } from '../alerts/cases/case.ts';
import { promtool } from './prometheus.ts';

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string }[];
}
const { panels } = JSON.parse(dashboardJson()) as { panels: Panel[] };

/** Beside b there. */
const STANDBY = 'job="fhir_connector", instance="c", shard="1"';

/** `figures` are those of shard 0, of shard 1, and of a standby of shard 1; null where there is no such connector. */
const cases = [
  ['Connector', 'both are there', { up: [1, 1, 1], fhir_shards: [2, 2, 2] }, 1],
  ['Connector', 'one has a standby only', { up: [1, 0, 1], fhir_shards: [2, null, 2] }, 1],
  ['Connector', 'one has no connector', { up: [1, 0, 0], fhir_shards: [2, null, null] }, 0],
  ['Unprocessed rows', 'rows wait in both', { fhir_outbox_unprocessed_count: [3, 4, 4] }, 7],
  ['Dead letters', 'there are some in both', { fhir_dlq_total: [7, 2, 2] }, 9],
  ['Behind', 'one is behind', { fhir_outbox_lag_seconds: [0, 40, 40] }, 40],
  ['PostgreSQL told', 'neither connector of one is told', { fhir_database_age_seconds: [2, 60, 50] }, 50],
  ['Since progress', 'one hangs', { fhir_since_progress_seconds: [1, 60, 90] }, 60],
  ['WAL headroom', 'one slot is near its end', { fhir_slot_safe_wal_bytes: [9000, 10, 10] }, 10],
] as const;

test.each(cases)('%s when %s', async (title, _, figures, value) => {
  const expression = panels.find((panel) => panel.title === title && panel.type === 'stat')?.targets?.[0]?.expr;
  const series = Object.entries(figures).flatMap(([metric, values]) =>
    [SHARD_0, SHARD_1, STANDBY].flatMap((labels, at) => {
      const figure = values[at];
      // Prometheus makes `up` itself, and knows no shard.
      const own = metric === 'up' ? labels.replace(/, shard=.*/, '') : labels;
      return figure === null ? [] : [{ series: `${metric}{${own}}`, values: `${figure}x12` }];
    }),
  );
  expect(await evaluated(expression ?? '', series, value)).toBe('as expected');
});

/** Says what promtool expected and what it got where they differ. */
async function evaluated(expr: string, series: readonly object[], value: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fhir-connector-figures-'));
  try {
    const file = join(folder, 'test.yml');
    const query = { expr, eval_time: '30s', exp_samples: [{ labels: '{}', value }] };
    await writeFile(
      file,
      stringify({
        evaluation_interval: '5s',
        tests: [{ interval: '5s', input_series: series, promql_expr_test: [query] }],
      }),
    );
    return await promisify(execFile)(promtool, ['test', 'rules', file]).then(
      () => 'as expected',
      ({ stdout, stderr }) => `${stdout}${stderr}`,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}
