// A panel with one figure: what it says, and on which colour.

import { MappingType, type Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { withUnit } from './number.ts';
import { overridden } from './override.ts';
import { colourOf, PANEL } from './palette.ts';

export interface Figure {
  readonly text: string;
  readonly ground: string;
}

/** Of one series; null when the query has none. */
export interface Sample {
  readonly name: string;
  readonly value: number;
}

export function figureOf(panel: Panel, sample: Sample | null): Figure {
  const { fieldConfig, options } = panel;
  const { unit, decimals, noValue = '–', mappings = [], thresholds } = fieldConfig?.defaults ?? {};
  const lowest = thresholds?.steps[0]?.color;
  if (!sample) return { text: noValue, ground: colourOf(lowest) };
  if (options.textMode === 'name') {
    const colour = overridden(panel, sample.name, 'color')?.fixedColor;
    return { text: sample.name, ground: options.colorMode === 'none' ? PANEL : colourOf(colour) };
  }
  for (const mapping of mappings) {
    const result =
      mapping.type === MappingType.ValueToText
        ? mapping.options[String(sample.value)]
        : mapping.type === MappingType.SpecialValue
          ? Number.isNaN(sample.value) && mapping.options.result
          : mapping.type === MappingType.RangeToText &&
            sample.value >= (mapping.options.from ?? Number.NEGATIVE_INFINITY) &&
            sample.value <= (mapping.options.to ?? Number.POSITIVE_INFINITY) &&
            mapping.options.result;
    if (result) return { text: result.text ?? '', ground: colourOf(result.color ?? lowest) };
  }
  const reached = thresholds?.steps.findLast(({ value }) => value === null || sample.value >= value);
  return { text: withUnit(sample.value, unit, decimals), ground: colourOf(reached?.color) };
}
