// What the vital signs have in common, https://hl7.org/fhir/R4/observation-vitalsigns.html .

import type { Observation, Quantity } from '../model/resource-types.ts';
import { UCUM, UNKNOWN, VITAL_SIGNS } from './codes.ts';
import type { Profile } from './mapped-resource.ts';

type Unit = { readonly [Part in 'unit' | 'code']: NonNullable<Quantity[Part]> };
type Value = Pick<Observation, 'valueQuantity' | 'dataAbsentReason'>;

/** Whose it is, and where it was measured. */
export const OF_PATIENT_AND_FORM = [
  { element: 'subject', column: 'patient_id', table: 'patient' },
  { element: 'encounter', column: 'form_id', table: 'form' },
] as const;

/** `profile`: of US Core. */
export function vitalSign(profile: Profile, usCore: string): Pick<Observation, 'meta' | 'status' | 'category'> {
  return {
    ...(profile === 'us-core' && { meta: { profile: [`http://hl7.org/fhir/us/core/StructureDefinition/${usCore}`] } }),
    status: 'final',
    category: [VITAL_SIGNS],
  };
}

/** The profiles demand a value, or the reason why there is none. */
export function measured(value: number | undefined, unit: Unit): Value {
  return value === undefined
    ? { dataAbsentReason: UNKNOWN }
    : { valueQuantity: { value, unit: unit.unit, system: UCUM, code: unit.code } };
}
