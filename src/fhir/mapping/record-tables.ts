// The tables of which each row is one resource, each behind those that it refers to. docs/adding-a-table.md adds one.
import { bloodPressure } from './blood-pressure.ts';
import { encounter } from './encounter.ts';
import { pulse } from './pulse.ts';
import type { RowMapping } from './record.ts';

export const RECORD_MAPPINGS: readonly RowMapping[] = [encounter, bloodPressure, pulse];
