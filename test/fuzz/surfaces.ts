// All surfaces.
import { outboxRows } from './outbox-rows.ts';
import { payloads } from './payloads.ts';
import type { Surface } from './surface.ts';

export const SURFACES: readonly Surface[] = [payloads, outboxRows(null)];
