// What a rule tells people, in the words of the one who evaluates it.

import type { AlertRule } from './rule.ts';

/** In this repository. Whoever has it on a server of their own puts that address here and generates anew. */
const RUNBOOK = 'docs/runbook.md';

/** Nothing where there is one shard, whose series have no such label. Prometheus and Grafana both expand it. */
const OF_SHARD = '{{ with $labels.shard }} of shard {{ . }}{{ end }}';

/** `value` is the template variable that holds the number. */
export function annotationsOf({ name, summary, format, meaning, action }: AlertRule, value: string) {
  return {
    summary: summary.replace('{value}', () => `{{ ${value} | ${format} }}`).replace('{shard}', () => OF_SHARD),
    description: meaning,
    action,
    runbook: `${RUNBOOK}#${name.toLowerCase()}`,
  };
}
