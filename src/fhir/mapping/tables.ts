// The tables whose rows become resources, each behind those that it refers to. docs/adding-a-table.md adds one.
import { bloodPressure } from './blood-pressure.ts';
import { encounter } from './encounter.ts';
import { patient } from './patient.ts';
import { pulse } from './pulse.ts';
import type { RowMapping } from './row-mapping.ts';

export const ROW_MAPPINGS: readonly RowMapping[] = [patient, encounter, bloodPressure, pulse];
