// What the vital signs have in common, https://hl7.org/fhir/R4/observation-vitalsigns.html .

import type { Observation, Quantity } from '../model/resource-types.ts';
import { UCUM, UNKNOWN_REASON, VITAL_SIGNS } from './codes.ts';
import type { Profile } from './mapped-resource.ts';
import { claim } from './us-core.ts';

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
    ...claim(profile, usCore),
    status: 'final',
    category: [VITAL_SIGNS],
  };
}

/** The profiles demand a value, or the reason why there is none. */
export function measured(value: number | undefined, unit: Unit): Value {
  return value === undefined
    ? { dataAbsentReason: UNKNOWN_REASON }
    : { valueQuantity: { value, unit: unit.unit, system: UCUM, code: unit.code } };
}
