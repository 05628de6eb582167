// docs/metrics.md lists every metric of the code, and by its name each tells what it is and in which unit.
// After a change of the code: npm run snapshots

import { describe, expect, test } from 'vitest';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { pathOf, table, withGenerated } from './document.ts';

const PAGE = 'docs/metrics.md';
/** https://prometheus.io/docs/practices/naming/#base-units */
const UNITS = ['seconds', 'bytes'];
/** An earlier connector's name for a gauge. */
const EARLIER = 'fhir_dlq_total';

const all = (await createMetrics().registry.getMetricsAsJSON())
  .filter(({ name }) => name.startsWith('fhir_'))
  .map(({ name, type, help, values }) => ({
    name,
    type: String(type),
    help,
    labels: Object.keys(values[0]?.labels ?? {}).filter((label) => label !== 'le'),
  }));

const unitOf = (name: string) => UNITS.find((unit) => name.replace(/_total$/, '').endsWith(`_${unit}`)) ?? '';

test('the page lists every metric with its type, unit, labels and meaning', async () => {
  const rows = all.map(({ name, type, help, labels }) => [
    `\`${name}\``,
    type,
    unitOf(name),
    labels.map((label) => `\`${label}\``).join(', '),
    help,
  ]);
  const page = withGenerated(PAGE, { metrics: table(['Metric', 'Type', 'Unit', 'Labels', 'Meaning'], rows) });
  await expect(page).toMatchFileSnapshot(pathOf(PAGE));
});

describe.each(all)('$name', ({ name, type, help }) => {
  test('ends in _total if it is a counter, and only then', () => {
    if (name !== EARLIER) expect(name.endsWith('_total')).toBe(type === 'counter');
  });

  test('names the unit of which its meaning speaks', () => {
    const spoken = /, in (seconds|bytes)\b/.exec(help)?.[1] ?? '';
    expect(unitOf(name)).toBe(spoken);
  });
});
