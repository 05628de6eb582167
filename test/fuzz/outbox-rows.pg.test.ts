// Whatever is written into fhir_outbox by hand, with a connector running.
import { inject, it } from 'vitest';
import { briefly, PATIENCE } from './brief.ts';
import { outboxRows } from './outbox-rows.ts';

it(
  'each row of fhir_outbox, whatever is in it, is delivered or a dead letter; nobody else waits for it, and the connector goes on',
  PATIENCE,
  () => briefly(outboxRows(inject('postgres')), 40),
);
