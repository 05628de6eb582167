// A connector whose FHIR server answers what no server should.
import { inject, it } from 'vitest';
import { briefly, PATIENCE } from './brief.ts';
import { hostileServer } from './hostile-server.ts';

it(
  'after whatever a FHIR server answers each change is delivered or a dead letter, and nobody is on the resource of somebody else',
  PATIENCE,
  () => briefly(hostileServer(inject('postgres')), 6),
);
