// Whatever a FHIR server answers.
import { it } from 'vitest';
import { briefly, PATIENCE } from './brief.ts';
import { fhirAnswers } from './fhir-answers.ts';

it(
  'whatever a FHIR server answers, in whatever manner, is one answer or one fault of the table, in time and without its words',
  PATIENCE,
  () => briefly(fhirAnswers, 150),
);
