// How a panel looks: a figure, lines over time, a state now, and a state over time. A row adds what is its own to it.

import {
  AxisPlacement,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  GraphDrawStyle,
  LineInterpolation,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import { FieldColorBuilder, FieldColorModeId } from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TimeseriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';
import { NoUnit } from '@grafana/grafana-foundation-sdk/units';
import { PROMETHEUS } from '../datasource.ts';
import { stateColours } from './colours.ts';
import { fixed, steps } from './value.ts';

type StateMetric = keyof typeof stateColours;

/** One above the other: the height is that of all together. */
export const STACKED = new StackingConfigBuilder().mode(StackingMode.Normal).group('A');
const NOT_STACKED = new StackingConfigBuilder().mode(StackingMode.None).group('A');

/** One number, on the colour that says how bad it is. */
export function figure(title: string, description: string, query: string, legend = '') {
  return (
    new StatBuilder()
      .title(title)
      .description(description)
      .datasource(PROMETHEUS)
      .height(4)
      // An instant: a query over a range would go on showing the last value of a connector that has ended.
      .withTarget(new DataqueryBuilder().refId('A').datasource(PROMETHEUS).expr(query).legendFormat(legend).instant())
      .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']).fields('').values(false))
      .unit(NoUnit)
      .noValue('–')
      .mappings([])
      .thresholds(steps('green'))
      .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
      .colorMode(BigValueColorMode.Background)
      .textMode(BigValueTextMode.Value)
      .graphMode(BigValueGraphMode.None)
  );
}

/**
 * A line for each query, or for each of its series. The key is the legend, in which `{{label}}` is what the series has there:
 * nothing is where it has none, so `{{shard}}` comes last, and an override goes by how the name begins.
 */
export function lines(title: string, description: string, queries: Readonly<Record<string, string>>) {
  const targets = Object.entries(queries).map(([legend, query], at) =>
    new DataqueryBuilder()
      .refId(String.fromCharCode('A'.charCodeAt(0) + at))
      .datasource(PROMETHEUS)
      .expr(query)
      .legendFormat(legend)
      .range(),
  );
  return new TimeseriesBuilder()
    .title(title)
    .description(description)
    .datasource(PROMETHEUS)
    .height(8)
    .targets(targets)
    .min(0)
    .mappings([])
    .thresholds(steps('green'))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassic))
    .drawStyle(GraphDrawStyle.Line)
    .lineInterpolation(LineInterpolation.Linear)
    .lineWidth(1)
    .fillOpacity(10)
    .showPoints(VisibilityMode.Never)
    .spanNulls(false)
    .stacking(NOT_STACKED)
    .axisPlacement(AxisPlacement.Auto)
    .legend(new VizLegendOptionsBuilder().showLegend(true))
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
}

/** The name of the state that is now, on its colour: that of each connector. */
export function stateNow(title: string, description: string, metric: StateMetric) {
  return figure(title, description, `${metric} == 1`, '{{state}} {{shard}}')
    .textMode(BigValueTextMode.Name)
    .overrides(overridesOf(metric));
}

/** A band in the colour of the state that was when, as high as the share of the connectors that were in it: of one, all or nothing. */
export function stateOverTime(title: string, description: string, metric: StateMetric) {
  return lines(title, description, { '{{state}}': `avg by (state) (${metric})` })
    .unit(NoUnit)
    .max(1)
    .lineInterpolation(LineInterpolation.StepAfter)
    .lineWidth(0)
    .fillOpacity(70)
    .stacking(STACKED)
    .axisPlacement(AxisPlacement.Hidden)
    .overrides(overridesOf(metric));
}

function overridesOf(metric: StateMetric) {
  return Object.entries(stateColours[metric]).map(([state, colour]) => ({
    matcher: { id: 'byRegexp', options: `/^${state}/` },
    properties: [fixed(colour)],
  }));
}
