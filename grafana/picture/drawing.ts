// The dashboard as one SVG, laid out as Grafana lays it out.

import type { Panel, RowPanel } from '@grafana/grafana-foundation-sdk/dashboard';
import { figureOf, type Sample } from './figure.ts';
import { graphOf, type Line, type Span } from './graph.ts';
import { GROUND, PANEL, TEXT } from './palette.ts';

const COLUMN = 62;
const ROW = 30;
const GAP = 6;
const WIDTH = 24 * COLUMN + GAP;
const TITLE = 24;
/** How much of its height a letter is wide, about. */
const LETTER = 0.62;

/** What a panel shows: `samples` of one that shows a figure, `lines` of one that shows them over time. */
export interface Content {
  readonly panel: Panel | RowPanel;
  readonly samples: readonly Sample[];
  readonly lines: readonly Line[];
}

export function drawingOf(contents: readonly Content[], span: Span): string {
  const height =
    Math.max(...contents.map(({ panel }) => (panel.gridPos?.y ?? 0) + (panel.gridPos?.h ?? 0))) * ROW + GAP;
  const inside = contents.map((content) => drawn(content, span)).join('\n');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="sans-serif">
<rect width="${WIDTH}" height="${height}" fill="${GROUND}"/>
${inside}
</svg>
`;
}

function drawn({ panel, samples, lines }: Content, span: Span): string {
  const place = panel.gridPos ?? { x: 0, y: 0, w: 0, h: 0 };
  const [x, y] = [place.x * COLUMN + GAP, place.y * ROW + GAP];
  const [w, h] = [place.w * COLUMN - GAP, place.h * ROW - GAP];
  const title = escaped(panel.title ?? '');
  if (!isPanel(panel))
    return `<text x="${x}" y="${y + 17}" fill="${TEXT}" font-size="14" font-weight="bold">${title}</text>`;
  const head = (ground: string, text: string) =>
    `<rect x="${x}" y="${y}" width="${w}" height="${h}" rx="3" fill="${ground}"/>
<text x="${x + 8}" y="${y + 17}" fill="${text}" font-size="12" font-weight="bold">${title}</text>`;
  if (panel.type === 'stat') {
    const { text, ground } = figureOf(panel, samples[0] ?? null);
    const ink = ground === PANEL ? TEXT : GROUND;
    const size = Math.min(h * 0.34, (w - 16) / text.length / LETTER);
    return `${head(ground, ink)}
<text x="${x + w / 2}" y="${y + TITLE / 2 + h / 2 + size / 3}" fill="${ink}" font-size="${size.toFixed(1)}" text-anchor="middle">${escaped(text)}</text>`;
  }
  const graph = graphOf(panel, lines, span, { w, h: h - TITLE });
  return `${head(PANEL, TEXT)}
${graph.replace('<svg ', `<svg x="${x}" y="${y + TITLE}" `)}`;
}

function isPanel(panel: Panel | RowPanel): panel is Panel {
  return panel.type !== 'row';
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
