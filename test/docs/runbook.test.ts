// The runbook has every alert, says of each what to do, and quotes what there is.
// After a change of the rules: npm run snapshots

import { describe, expect, test } from 'vitest';
import { annotationsOf } from '../../grafana/alerts/annotations.ts';
import type { AlertRule } from '../../grafana/alerts/rule.ts';
import { rules } from '../../grafana/alerts/rules.ts';
import { headingsOf, isSaid, pathOf, quotesIn, read, sectionOf, table, withGenerated } from './document.ts';

const PAGE = 'docs/runbook.md';

const time = (seconds: number) =>
  seconds === 0 ? 'at once' : seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;

const bound = ({ format }: AlertRule, number: number) =>
  format === 'humanize1024' ? `${number / 1024 ** 2} MiB` : number;

/** What Grafana does without figures: for Prometheus they are no alert, apart from those two whose expression counts them as 0. */
function withoutFigures({ noData: { state, because } }: AlertRule): string {
  const does = { Alerting: 'fires', KeepLast: 'stays as it was', OK: 'is quiet' }[state];
  return `${does}: ${because}`;
}

function alerts(): string {
  const rows = rules.map((rule) => [
    `[${rule.name}](#${rule.name.toLowerCase()})`,
    rule.severity,
    `\`${rule.value}\` ${'above' in rule.fires ? `above ${bound(rule, rule.fires.above)}` : `below ${bound(rule, rule.fires.below)}`}`,
    time(rule.forSeconds),
    withoutFigures(rule),
  ]);
  return table(['Alert', 'Severity', 'Fires when', 'For', 'Without figures, in Grafana'], rows);
}

test('the runbook lists every alert with its condition', async () => {
  await expect(withGenerated(PAGE, { alerts: alerts() })).toMatchFileSnapshot(pathOf(PAGE));
});

describe.each(rules.map((rule) => [rule.name, rule] as const))('%s', (name, rule) => {
  test('has a heading that its link leads to', () => {
    const [page, anchor] = annotationsOf(rule, '').runbook.split('#');
    expect(page).toBe(PAGE);
    // As GitHub makes anchors of headings of one word.
    expect(headingsOf(PAGE).map(({ text }) => text.toLowerCase())).toContain(anchor);
  });

  test('says what it means, how to look, what to do and what not to do', () => {
    const said = [...sectionOf(PAGE, name).matchAll(/^\*\*(Means|Look|Do|Do not)\*\*/gm)].map(([, part]) => part);
    expect(said).toEqual(['Means', 'Look', 'Do', 'Do not']);
  });
});

test('the runbook has no alert that is not there', () => {
  const names = headingsOf(PAGE).flatMap(({ text, level }) => (level === 2 && text !== 'Looking' ? [text] : []));
  expect(names).toEqual(rules.map(({ name }) => name));
});

test('the runbook quotes messages of the connector', () => {
  const quotes = quotesIn(read(PAGE));
  expect(quotes.length).toBeGreaterThan(2);
  expect(quotes.filter((quote) => !isSaid(quote))).toEqual([]);
});
