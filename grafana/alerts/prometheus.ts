// Makes Prometheus' rules: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/

import { stringify } from 'yaml';
import { annotationsOf } from './annotations.ts';
import { HEAD } from './head.ts';
import type { AlertGroup, AlertRule } from './rule.ts';

export function expressionOf({ value, fires }: AlertRule): string {
  return `(${value}) ${'above' in fires ? `> ${fires.above}` : `< ${fires.below}`}`;
}

/** The text of prometheus_rules.yml. `timeScale` shortens every `for`, so that a test sees what takes minutes. */
export function prometheusRules(groups: readonly AlertGroup[], timeScale = 1): string {
  const file = {
    groups: groups.map(({ name, rules }) => ({
      name,
      rules: rules.map((rule) => ({
        alert: rule.name,
        expr: expressionOf(rule),
        for: `${Math.ceil(rule.forSeconds / timeScale)}s`,
        labels: { severity: rule.severity },
        annotations: annotationsOf(rule, '$value'),
      })),
    })),
  };
  return HEAD + stringify(file, { lineWidth: 0 });
}
