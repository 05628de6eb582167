// Each alert rule on histories of figures, by promtool: when it fires and what it says then, and when it is quiet.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { annotationsOf } from '../../grafana/alerts/annotations.ts';
import { prometheusRules } from '../../grafana/alerts/prometheus.ts';
import { rules } from '../../grafana/alerts/rules.ts';
import type { Case, Cases } from '../alerts/cases/case.ts';
import { connector } from '../alerts/cases/connector.ts';
import { database } from '../alerts/cases/database.ts';
import { deadLetters } from '../alerts/cases/dead-letters.ts';
import { fhir } from '../alerts/cases/fhir.ts';
import { outbox } from '../alerts/cases/outbox.ts';
import { slot } from '../alerts/cases/slot.ts';
import { wal } from '../alerts/cases/wal.ts';
import { promtool } from './prometheus.ts';

const cases: Cases = { ...connector, ...database, ...slot, ...wal, ...outbox, ...deadLetters, ...fhir };
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fhir-connector-rules-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** What promtool says of the rule alone, for the sake of speed; it names what it expected and what it got where they differ. */
async function judge(alert: string, { series, at, says, ofShard }: Case): Promise<string> {
  const rule = rules.find(({ name }) => name === alert);
  if (!rule) throw new Error(`There is no alert ${alert}.`);
  const fired = {
    exp_labels: { severity: rule.severity, ...(ofShard !== undefined && { shard: ofShard }) },
    exp_annotations: { ...annotationsOf(rule, ''), summary: says },
  };
  await writeFile(join(folder, 'rules.yml'), prometheusRules([{ name: alert, rules: [rule] }]));
  const file = join(folder, 'test.yml');
  const content = {
    rule_files: ['rules.yml'],
    evaluation_interval: '5s',
    tests: [
      {
        interval: '5s',
        input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
        alert_rule_test: [{ eval_time: at, alertname: alert, exp_alerts: says === undefined ? [] : [fired] }],
      },
    ],
  };
  await writeFile(file, stringify(content));
  return promisify(execFile)(promtool, ['test', 'rules', file]).then(
    () => 'as expected',
    ({ stdout, stderr }) => `${stdout}${stderr}`,
  );
}

test('every rule has cases in which it fires, and others in which it does not', () => {
  expect(Object.keys(cases).toSorted()).toEqual(rules.map(({ name }) => name).toSorted());
  for (const [name, each] of Object.entries(cases)) {
    expect(
      each.filter(({ says }) => says !== undefined),
      name,
    ).not.toEqual([]);
    expect(
      each.filter(({ says }) => says === undefined),
      name,
    ).not.toEqual([]);
  }
});

test('of two shards each rule that names one has a case in which one fires, and not the other', () => {
  const named = rules.filter(({ summary }) => summary.includes('{shard}')).map(({ name }) => name);
  const tried = Object.entries(cases).filter(([, each]) => each.some(({ ofShard }) => ofShard !== undefined));
  expect(tried.map(([name]) => name).toSorted()).toEqual(named.toSorted());
});

describe.each(Object.entries(cases))('%s', (alert, each) => {
  const title = ({ when, says }: Case) => `${says === undefined ? 'is quiet' : 'fires'} when ${when}`;
  test.each(each.map((one) => [title(one), one] as const))('%s', async (_, one) => {
    expect(await judge(alert, one)).toBe('as expected');
  });
});
