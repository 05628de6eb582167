// A row of pulse → a FHIR R4 Observation, https://hl7.org/fhir/R4/heartrate.html .
// US Core: https://hl7.org/fhir/us/core/StructureDefinition-us-core-heart-rate.html
import { z } from 'zod';
import type { Observation } from '../model/resource-types.ts';
import { coded, HEART_RATE, PULSE_METHODS, PULSE_SITES, RHYTHMS } from './codes.ts';
import { moment, number, text } from './columns.ts';
import { recordMapping } from './row-mapping.ts';
import { measured, OF_PATIENT_AND_FORM, vitalSign } from './vital-sign.ts';

const PER_MINUTE = { unit: 'beats/minute', code: '/min' };

const columns = z.object({
  rate: number.describe('In beats per minute. Empty: the Observation says that it is unknown'),
  measurement_time: moment.describe(
    'With the offset that it was written with. What FHIR cannot hold (infinity, BC, no time zone) refuses the reading',
  ),
  regularity: text.describe('`regular`, `irregular` as codes; other words as text alone'),
  method: text.describe('`palpation`, `auscultation` as codes; other words, as `automatic`, as text alone'),
  body_site: text.describe('`radial`, `carotid`, `heart`, `finger` as codes; other words as text alone'),
  comment: text.describe('As it is'),
});

export const pulse = recordMapping<typeof columns, Observation>({
  table: 'pulse',
  type: 'Observation',
  columns,
  references: OF_PATIENT_AND_FORM,
  withdrawn: { status: 'entered-in-error' },
  elements: (row, profile) => ({
    ...vitalSign(profile, 'us-core-heart-rate'),
    code: HEART_RATE,
    ...(row.measurement_time !== undefined && { effectiveDateTime: row.measurement_time }),
    ...measured(row.rate, PER_MINUTE),
    // No component: the profile wants each of them to be a quantity.
    ...(row.regularity !== undefined && { interpretation: [coded(row.regularity, RHYTHMS)] }),
    ...(row.body_site !== undefined && { bodySite: coded(row.body_site, PULSE_SITES) }),
    ...(row.method !== undefined && { method: coded(row.method, PULSE_METHODS) }),
    ...(row.comment !== undefined && { note: [{ text: row.comment }] }),
  }),
});
