// All surfaces that meet hostile input, for npm run fuzz; each has a test of its own that tries it for a moment.
import { environment } from './configuration.ts';
import { fhirAnswers } from './fhir-answers.ts';
import { frames } from './frames.ts';
import { hostileServer } from './hostile-server.ts';
import { httpRequests } from './http-requests.ts';
import { outboxRows } from './outbox-rows.ts';
import { payloads } from './payloads.ts';
import type { Surface } from './surface.ts';

/** Those that need PostgreSQL start one. */
export const SURFACES: readonly Surface[] = [
  payloads,
  environment,
  httpRequests,
  fhirAnswers,
  outboxRows(null),
  hostileServer(null),
  frames(null),
];
