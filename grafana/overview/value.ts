// What a value looks like: its colour from where on, and what is said instead of NaN.

import {
  type DynamicConfigValue,
  FieldColorModeId,
  MappingType,
  SpecialValueMatch,
  ThresholdsConfigBuilder,
  type ValueMapping,
  type ValueMappingResult,
} from '@grafana/grafana-foundation-sdk/dashboard';
import type { Colour } from './colours.ts';

/** `lowest`, and each further colour from its number on. */
export function steps(lowest: Colour, ...higher: readonly (readonly [from: number, colour: Colour])[]) {
  return new ThresholdsConfigBuilder().steps([
    { value: null, color: lowest },
    ...higher.map(([value, color]) => ({ value, color })),
  ]);
}

/** For what is not known, or has no limit. */
export function whenNaN(result: ValueMappingResult): ValueMapping {
  return {
    type: MappingType.SpecialValue,
    options: { match: SpecialValueMatch.NotANumber, result: { ...result, index: 0 } },
  };
}

/** The override of a series that has its colour whatever it is. */
export function fixed(colour: Colour): DynamicConfigValue {
  return { id: 'color', value: { mode: FieldColorModeId.Fixed, fixedColor: colour } };
}
