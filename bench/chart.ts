// The chart of docs/performance.md: rates beside their floors, drawn as SVG without a browser.
import { BarChart } from 'echarts/charts';
import { GridComponent, LegendComponent } from 'echarts/components';
import * as echarts from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';

echarts.use([BarChart, GridComponent, LegendComponent, SVGRenderer]);

export interface Bars {
  /** What was measured, one group of bars each. */
  readonly groups: readonly string[];
  /** A value for each group; null where it was not measured. */
  readonly series: readonly { readonly name: string; readonly values: readonly (number | null)[] }[];
}

/** Readable on a light page and on a dark one. */
const TEXT = '#7d8590';
const COLOURS = ['#9da7b3', '#2f81f7', '#db8b0b'];

/** The same bars give the same bytes. */
export function chart({ groups, series }: Bars, unit: string): string {
  const drawing = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 860, height: 420 });
  drawing.setOption({
    animation: false,
    color: COLOURS,
    textStyle: { fontFamily: 'sans-serif' },
    legend: { textStyle: { color: TEXT }, top: 8 },
    grid: { left: 90, right: 30, top: 50, bottom: 60 },
    xAxis: {
      type: 'category',
      data: [...groups],
      axisLabel: { color: TEXT, interval: 0, width: 190, overflow: 'break' },
    },
    yAxis: {
      type: 'log',
      min: 100,
      name: unit,
      nameTextStyle: { color: TEXT },
      axisLabel: { color: TEXT },
      splitLine: { lineStyle: { color: TEXT, opacity: 0.25 } },
    },
    series: series.map(({ name, values }) => ({
      name,
      type: 'bar',
      data: [...values],
      label: {
        show: true,
        position: 'top',
        color: TEXT,
        formatter: ({ value }: { value: unknown }) => thousands(value),
      },
    })),
  });
  const svg = drawing.renderToSVGString();
  drawing.dispose();
  return `${svg}\n`;
}

function thousands(value: unknown): string {
  return typeof value === 'number' ? Math.round(value).toLocaleString('en') : '';
}
