// The picture of the dashboard says what Grafana would: the panels are the real ones, and the figures are given.
import type { Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { describe, expect, test } from 'vitest';
import { dashboardJson } from '../../grafana/overview/dashboard.ts';
import { drawingOf } from '../../grafana/picture/drawing.ts';
import { figureOf } from '../../grafana/picture/figure.ts';
import { withUnit } from '../../grafana/picture/number.ts';
import { colourOf } from '../../grafana/picture/palette.ts';

const { panels } = JSON.parse(dashboardJson()) as { panels: Panel[] };
const HOUR = 3600;
const GIBIBYTE = 1024 ** 3;

function panelOf(title: string): Panel {
  const panel = panels.find((each) => each.title === title && each.type !== 'row');
  if (!panel) throw new Error(`There is no panel ${title}.`);
  return panel;
}

describe('a figure', () => {
  test.each([
    ['Connector', 1, 'UP', 'green'],
    ['Connector', 0, 'DOWN', 'red'],
    ['Behind', 0.04, '40.0 ms', 'green'],
    ['Behind', 12, '12.0 s', 'orange'],
    ['Behind', Number.NaN, 'unknown', 'green'],
    ['WAL runway', 2 * HOUR, '2.0 h', 'orange'],
    ['WAL runway', 1000 * 24 * HOUR, '> 30 d', 'green'],
    ['WAL headroom', Number.NaN, 'no limit', 'green'],
    ['WAL headroom', 2 * GIBIBYTE, '2 GiB', 'orange'],
    ['Dead letters', 3, '3', 'red'],
  ])('%s at %d says %s, on %s', (title, value, text, colour) => {
    expect(figureOf(panelOf(title), { name: '', value })).toEqual({ text, ground: colourOf(colour) });
  });

  test.each([
    ['State', 'catching-up', 'yellow'],
    ['FHIR server', 'outage', 'red'],
    ['State', 'streaming 1', 'green'],
  ])('%s is the name %s, on %s', (title, name, colour) => {
    expect(figureOf(panelOf(title), { name, value: 1 })).toEqual({ text: name, ground: colourOf(colour) });
  });

  test('without a series says what the panel says then', () => {
    expect(figureOf(panelOf('Connector'), null)).toEqual({ text: 'DOWN', ground: colourOf('red') });
    expect(figureOf(panelOf('Dead letters'), null)).toEqual({ text: '–', ground: colourOf('green') });
  });
});

test.each([
  [0, 's', '0 s'],
  [0.0123, 's', '12.3 ms'],
  [90, 's', '1.5 min'],
  [1536, 'bytes', '1.5 KiB'],
  [0.25, 'percentunit', '25 %'],
  [12.34, 'eps', '12.3/s'],
  [12_345, 'short', '12.3K'],
])('%d in %s is %s', (value, unit, text) => {
  expect(withUnit(value, unit)).toBe(text);
});

test('the drawing has each panel, and each line where there is one', () => {
  const span = { from: 0, to: 60_000 };
  const line = { name: 'the one line', points: [[0, 1] as const, [30_000, null] as const, [60_000, 2] as const] };
  const svg = drawingOf(
    panels.map((panel) => ({ panel, samples: [], lines: panel.type === 'timeseries' ? [line] : [] })),
    span,
  );
  for (const { title } of panels) expect(svg).toContain(`>${title?.replaceAll('&', '&amp;')}</text>`);
  const graphs = panels.filter(({ type }) => type === 'timeseries');
  expect(svg.match(/>the one line</g)).toHaveLength(graphs.length);
});
