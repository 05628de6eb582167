// A row of form → a FHIR R4 Encounter, https://hl7.org/fhir/R4/encounter.html .
// US Core: https://hl7.org/fhir/us/core/StructureDefinition-us-core-encounter.html
import { z } from 'zod';
import type { Encounter } from '../model/resource-types.ts';
import { AMBULATORY } from './codes.ts';
import { moment, text } from './columns.ts';
import { recordMapping } from './row-mapping.ts';
import { claim, DATA_ABSENT } from './us-core.ts';

const columns = z.object({
  name: text.describe('As it is. Empty: under US Core, which demands a type, the reason why there is none'),
  encounter_date: moment.describe(
    'With the offset that it was written with. What FHIR cannot hold (infinity, BC, no time zone) refuses the form',
  ),
});

export const encounter = recordMapping<typeof columns, Encounter>({
  table: 'form',
  type: 'Encounter',
  columns,
  references: [{ element: 'subject', column: 'patient_id', table: 'patient' }],
  withdrawn: { status: 'entered-in-error' },
  elements: ({ name, encounter_date }, profile) => ({
    ...claim(profile, 'us-core-encounter'),
    // A form is filled in, and then it is over.
    status: 'finished',
    class: AMBULATORY,
    ...(name !== undefined && { type: [{ text: name }] }),
    ...(name === undefined && profile === 'us-core' && { type: [{ extension: DATA_ABSENT }] }),
    ...(encounter_date !== undefined && { period: { start: encounter_date } }),
  }),
});
