// A row of the dashboard, and where its panels stand.

import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import { defaultGridPos, type Panel } from '@grafana/grafana-foundation-sdk/dashboard';

export interface Row {
  readonly title: string;
  readonly panels: readonly Builder<Panel>[];
}

/** The columns of Grafana's grid. */
export const WIDTH = 24;

/**
 * Each panel goes as high as it can, and there as far left as it can, in their order. The library's own way fills whole
 * lines only: it would not put a low panel below another one beside a high one.
 */
export function placed(panels: readonly Panel[], top: number) {
  const free = Array.from({ length: WIDTH }, () => top);
  return panels.map((panel) => {
    const { w, h } = panel.gridPos ?? defaultGridPos();
    const heights = Array.from({ length: WIDTH - w + 1 }, (_, x) => Math.max(...free.slice(x, x + w)));
    const y = Math.min(...heights);
    const x = heights.indexOf(y);
    free.fill(y + h, x, x + w);
    return { ...panel, gridPos: { x, y, w, h } };
  });
}
