// All surfaces.
import { fhirAnswers } from './fhir-answers.ts';
import { outboxRows } from './outbox-rows.ts';
import { payloads } from './payloads.ts';
import type { Surface } from './surface.ts';

export const SURFACES: readonly Surface[] = [payloads, fhirAnswers, outboxRows(null)];
