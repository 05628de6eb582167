// Patients that are wrong in one thing each, and which validator sees it: neither sees everything, so both are asked.

import { MAX_FHIR_STRING } from '../../src/fhir/model/primitives.ts';
import type { Patient } from '../../src/fhir/model/resource-types.ts';

type Validator = 'medplum' | 'hapi';

const V2_0203 = 'http://terminology.hl7.org/CodeSystem/v2-0203';
const ABSENT = 'http://hl7.org/fhir/StructureDefinition/data-absent-reason';

export const US_CORE_PATIENT = 'http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient';

/** Nothing is wrong with it. */
export const SOUND: Patient = {
  resourceType: 'Patient',
  meta: { profile: [US_CORE_PATIENT] },
  identifier: [{ system: 'https://hospital.example.com/mrn', value: 'MRN-1' }],
  name: [{ family: 'Smith' }],
  telecom: [{ system: 'phone', value: '+1-555-1' }],
  gender: 'male',
};

const BOTH = ['medplum', 'hapi'] as const;
const HAPI = ['hapi'] as const;
const MEDPLUM = ['medplum'] as const;

/** In the order: what, what is put in place of the sound elements (undefined: left out), who sees it. */
const FAULTS: readonly [string, Record<string, unknown>, readonly Validator[]][] = [
  ['no name', { name: undefined }, BOTH],
  ['a name of a text alone, without a reason', { name: [{ text: 'x' }] }, BOTH],
  [
    'a reason for a missing name beside a family name',
    { name: [{ extension: [{ url: ABSENT, valueCode: 'unknown' }], family: 'Smith' }] },
    BOTH,
  ],
  ['a reason that is none of the codes', { name: [{ extension: [{ url: ABSENT, valueCode: 'lost' }] }] }, HAPI],
  ['an empty name', { name: [{ family: '' }] }, BOTH],
  ['no identifier', { identifier: undefined }, BOTH],
  ['an identifier without system', { identifier: [{ value: 'MRN-1' }] }, BOTH],
  ['an identifier without value', { identifier: [{ system: 'urn:mrn' }] }, BOTH],
  [
    'an identifier without value, and a reason for its missing system',
    { identifier: [{ _system: { extension: [{ url: ABSENT, valueCode: 'unknown' }] } }] },
    BOTH,
  ],
  [
    'an identifier of a type that is no code',
    { identifier: [{ type: { coding: [{ system: V2_0203, code: 'MRN' }] }, system: 'urn:mrn', value: '1' }] },
    HAPI,
  ],
  ['an identifier system with white space', { identifier: [{ system: 'hospital mrn', value: '1' }] }, BOTH],
  ['an identifier system that is no absolute URI', { identifier: [{ system: 'mrn', value: '1' }] }, HAPI],
  ['telecom without value', { telecom: [{ system: 'phone' }] }, BOTH],
  ['telecom without system', { telecom: [{ value: '+1-555-1' }] }, BOTH],
  ['telecom of a system that is no code', { telecom: [{ system: 'pigeon', value: '1' }] }, HAPI],
  ['no gender', { gender: undefined }, BOTH],
  ['a gender that is no code', { gender: 'm' }, HAPI],
  ['a day that the month does not have', { birthDate: '1990-02-30' }, BOTH],
  ['a birth date with a time', { birthDate: '1990-01-15T00:00:00Z' }, BOTH],
  ['an element that there is not', { birth_date: '1990-01-15' }, BOTH],
  ['a control character', { name: [{ family: 'Smi\u0007th' }] }, MEDPLUM],
  ['a text longer than a string may be', { name: [{ family: 'x'.repeat(MAX_FHIR_STRING + 1) }] }, BOTH],
];

/** Those that this validator sees, or those that it misses: what is wrong, and the Patient. */
export function plantedFaults(validator: Validator, seen: boolean): [string, Patient][] {
  return FAULTS.filter(([, , seenBy]) => seenBy.includes(validator) === seen).map(([fault, elements]) => [
    fault,
    JSON.parse(JSON.stringify({ ...SOUND, ...elements })) as Patient,
  ]);
}
