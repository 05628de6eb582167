// The tables of which each row is one resource, each behind those that it refers to. docs/adding-a-table.md adds one.
import { bloodPressure } from './blood-pressure-mapper.ts';
import { encounter } from './encounter-mapper.ts';
import { pulse } from './pulse-mapper.ts';
import type { RecordMapping } from './record-mapping.ts';

export const RECORD_MAPPINGS: readonly RecordMapping[] = [encounter, bloodPressure, pulse];
