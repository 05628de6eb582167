// A connector whose FHIR server answers what no server should.
import { inject, it } from 'vitest';
import { briefly } from './brief.ts';
import { hostileServer } from './hostile-server.ts';

it('after whatever a FHIR server answers each change is delivered or a dead letter, and nobody is on the resource of somebody else', () =>
  briefly(hostileServer(inject('postgres')), 6));
