// A panel with lines over time, or with bands of states, as SVG.

import type { Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent } from 'echarts/components';
import * as echarts from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import { withUnit } from './number.ts';
import { overridden } from './override.ts';
import { colourOf, FAINT, LINES, TEXT } from './palette.ts';

echarts.use([LineChart, GridComponent, LegendComponent, SVGRenderer]);

export interface Line {
  readonly name: string;
  /** Milliseconds since 1970, and the value; null where there is none. */
  readonly points: readonly (readonly [at: number, value: number | null])[];
}

export interface Span {
  readonly from: number;
  readonly to: number;
}

export function graphOf(panel: Panel, lines: readonly Line[], span: Span, size: { w: number; h: number }) {
  const { unit, min, max, custom } = panel.fieldConfig?.defaults ?? {};
  const isRight = (name: string) => overridden(panel, name, 'custom.axisPlacement') === 'right';
  const onTheRight = lines.find(({ name }) => isRight(name))?.name;
  const axis = (ofUnit: string | undefined, side: 'left' | 'right', top: number | undefined) => ({
    type: 'value' as const,
    position: side,
    show: custom.axisPlacement !== 'hidden',
    splitNumber: 3,
    ...(min !== undefined && { min }),
    ...(top !== undefined && { max: top }),
    axisLabel: { color: FAINT, fontSize: 10, formatter: (value: number) => withUnit(value, ofUnit) },
    splitLine: { show: side === 'left', lineStyle: { color: FAINT, opacity: 0.15 } },
  });
  const drawing = echarts.init(null, null, { renderer: 'svg', ssr: true, width: size.w, height: size.h });
  drawing.setOption({
    animation: false,
    useUTC: true,
    textStyle: { fontFamily: 'sans-serif' },
    legend: {
      bottom: 0,
      left: 4,
      itemWidth: 12,
      itemHeight: 3,
      itemGap: 10,
      icon: 'rect',
      textStyle: { color: TEXT, fontSize: 9 },
    },
    grid: { left: 8, right: 12, top: 10, bottom: 26, outerBoundsMode: 'same' },
    xAxis: {
      type: 'time',
      min: span.from,
      max: span.to,
      splitNumber: 3,
      axisLabel: { color: FAINT, fontSize: 10, formatter: '{HH}:{mm}', hideOverlap: true },
      axisLine: { lineStyle: { color: FAINT, opacity: 0.3 } },
    },
    yAxis: onTheRight
      ? [
          axis(unit, 'left', max),
          axis(overridden(panel, onTheRight, 'unit'), 'right', overridden(panel, onTheRight, 'max')),
        ]
      : [axis(unit, 'left', max)],
    series: lines.map(({ name, points }, at) => {
      const fixed = overridden(panel, name, 'color');
      const color = fixed ? colourOf(fixed.fixedColor) : LINES[at % LINES.length];
      return {
        type: 'line',
        name,
        data: points,
        yAxisIndex: isRight(name) ? 1 : 0,
        showSymbol: false,
        color,
        lineStyle: { width: custom.lineWidth },
        areaStyle: { opacity: custom.fillOpacity / 100 },
        ...(custom.lineInterpolation === 'stepAfter' && { step: 'end' }),
        ...(custom.stacking.mode === 'normal' && { stack: 'all' }),
      };
    }),
  });
  const svg = drawing.renderToSVGString();
  drawing.dispose();
  return svg;
}
