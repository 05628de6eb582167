// A row of blood_pressure → a FHIR R4 Observation, https://hl7.org/fhir/R4/bp.html .
// US Core: https://hl7.org/fhir/us/core/StructureDefinition-us-core-blood-pressure.html
import { z } from 'zod';
import type { Observation } from '../model/resource-types.ts';
import { ARMS, BLOOD_PRESSURE, BODY_POSITIONS, coded, DIASTOLIC, SYSTOLIC } from './codes.ts';
import { moment, number, text } from './columns.ts';
import { recordMapping } from './row-mapping.ts';
import { measured, OF_PATIENT_AND_FORM, vitalSign } from './vital-sign.ts';

const MMHG = { unit: 'mmHg', code: 'mm[Hg]' };
/** https://hl7.org/fhir/R4/extension-observation-bodyposition.html */
const BODY_POSITION = 'http://hl7.org/fhir/StructureDefinition/observation-bodyPosition';

const PRESSURE = 'In mm[Hg]. Empty: the component says that it is unknown';

const columns = z.object({
  systolic_pressure: number.describe(PRESSURE),
  diastolic_pressure: number.describe(PRESSURE),
  measurement_time: moment.describe(
    'With the offset that it was written with. What FHIR cannot hold (infinity, BC, no time zone) refuses the reading',
  ),
  position: text.describe('`sitting`, `standing`, `lying` as codes; other words as text alone'),
  location: text.describe('`left_arm`, `right_arm` as codes; other words as text alone'),
  comment: text.describe('As it is'),
});

export const bloodPressure = recordMapping<typeof columns, Observation>({
  table: 'blood_pressure',
  type: 'Observation',
  columns,
  references: OF_PATIENT_AND_FORM,
  withdrawn: { status: 'entered-in-error' },
  elements: (row, profile) => ({
    ...vitalSign(profile, 'us-core-blood-pressure'),
    ...(row.position !== undefined && {
      extension: [{ url: BODY_POSITION, valueCodeableConcept: coded(row.position, BODY_POSITIONS) }],
    }),
    code: BLOOD_PRESSURE,
    ...(row.measurement_time !== undefined && { effectiveDateTime: row.measurement_time }),
    ...(row.location !== undefined && { bodySite: coded(row.location, ARMS) }),
    component: [
      { code: SYSTOLIC, ...measured(row.systolic_pressure, MMHG) },
      { code: DIASTOLIC, ...measured(row.diastolic_pressure, MMHG) },
    ],
    ...(row.comment !== undefined && { note: [{ text: row.comment }] }),
  }),
});
