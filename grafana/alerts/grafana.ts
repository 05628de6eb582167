// Makes Grafana's file of alert rules:
// https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/file-provisioning/

import { QueryBuilder, type Rule } from '@grafana/grafana-foundation-sdk/alerting';
import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog';
import { TypeReduceBuilder, TypeThresholdBuilder } from '@grafana/grafana-foundation-sdk/expr';
import { DataqueryBuilder, QueryEditorMode } from '@grafana/grafana-foundation-sdk/prometheus';
import { stringify } from 'yaml';
import { PROMETHEUS } from '../datasource.ts';
import { annotationsOf } from './annotations.ts';
import { HEAD } from './head.ts';
import type { AlertGroup, AlertRule } from './rule.ts';

const EXPRESSION = { type: '__expr__', uid: '__expr__' };
/** As in grafana/provisioning/dashboards. */
const FOLDER = 'FHIR Connector';
/** Grafana's scheduler knows multiples of ten seconds only. */
const INTERVAL = '10s';

/** The file names groups and folders itself, and its key for them is not that of the API. */
type FileRule = Omit<Rule, 'folderUID' | 'orgID' | 'ruleGroup'> & { uid: string };

/** The text of grafana/provisioning/alerting/fhir_connector.yml. */
export function grafanaRules(groups: readonly AlertGroup[]): string {
  const file = {
    apiVersion: 1,
    groups: groups.map(({ name, rules }) => ({
      orgId: 1,
      name,
      folder: FOLDER,
      interval: INTERVAL,
      rules: rules.map(grafanaRule),
    })),
  };
  return HEAD + stringify(file, { lineWidth: 0, aliasDuplicateObjects: false });
}

export function uidOf({ name }: AlertRule): string {
  return `fhir${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function grafanaRule(rule: AlertRule): FileRule {
  return {
    uid: uidOf(rule),
    title: rule.name,
    condition: 'C',
    data: queriesOf(rule),
    noDataState: rule.noData.state,
    execErrState: rule.queryFails ?? 'KeepLast',
    for: `${rule.forSeconds}s`,
    annotations: annotationsOf(rule, '$values.B.Value'),
    labels: { severity: rule.severity },
    isPaused: false,
  };
}

function queriesOf({ value, fires }: AlertRule) {
  // An instant: a query over a range would go on showing the last value of a connector that has ended.
  const query = new DataqueryBuilder()
    .refId('A')
    .datasource(PROMETHEUS)
    .editorMode(QueryEditorMode.Code)
    .expr(value)
    .instant();
  // NaN, which is what the connector does not know, becomes "no data"; a threshold would take it for a number.
  const number = new TypeReduceBuilder()
    .refId('B')
    .datasource(EXPRESSION)
    .expression('A')
    .reducer('last')
    .settings({ mode: 'dropNN' });
  const evaluator =
    'above' in fires ? { type: 'gt' as const, params: [fires.above] } : { type: 'lt' as const, params: [fires.below] };
  const threshold = new TypeThresholdBuilder()
    .refId('C')
    .datasource(EXPRESSION)
    .expression('B')
    .conditions([{ evaluator }]);
  return [
    queryOf('A', PROMETHEUS.uid, query, 600),
    queryOf('B', EXPRESSION.uid, number, 0),
    queryOf('C', EXPRESSION.uid, threshold, 0),
  ];
}

function queryOf(refId: string, datasourceUid: string, model: Builder<Dataquery>, from: number) {
  const query = new QueryBuilder(refId)
    .datasourceUid(datasourceUid)
    .relativeTimeRange({ from, to: 0 })
    .model(model)
    .build();
  // Without what marks the types of the library.
  return JSON.parse(JSON.stringify(query)) as typeof query;
}
