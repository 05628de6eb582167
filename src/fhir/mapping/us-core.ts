// What US Core asks beyond R4: of every resource a claim, and of a Patient more, added to an R4 Patient of the connector's.
// https://hl7.org/fhir/us/core/StructureDefinition-us-core-patient.html

import type { CodeableConcept, Extension, HumanName, Identifier, Patient } from '../model/resource-types.ts';
import type { Profile } from './mapped-resource.ts';

/** https://terminology.hl7.org/CodeSystem-v2-0203.html */
const MEDICAL_RECORD_NUMBER: CodeableConcept = {
  coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0203', code: 'MR', display: 'Medical record number' }],
};

/** For an element that has to be there and of which the row says nothing: https://hl7.org/fhir/us/core/general-guidance.html */
export const DATA_ABSENT: Extension[] = [
  { url: 'http://hl7.org/fhir/StructureDefinition/data-absent-reason', valueCode: 'unknown' },
];

/** Claims the profile of this name; claims nothing where FHIR_PROFILE is another one. */
export function claim(profile: Profile, name: string): { meta?: { profile: string[] } } {
  return profile === 'us-core'
    ? { meta: { profile: [`http://hl7.org/fhir/us/core/StructureDefinition/${name}`] } }
    : {};
}

/**
 * Claims the profile, types the primary identifier (the first one) as the medical record number, and says of a missing
 * name or identifier system that it is unknown. What else the profile demands (gender, system and value of each telecom)
 * the R4 Patient has already.
 */
export function asUsCorePatient({ resourceType, identifier, active, name, ...others }: Patient): Patient {
  return {
    resourceType,
    ...claim('us-core', 'us-core-patient'),
    identifier: (identifier ?? []).map((each, index) => ({
      ...(index === 0 && { type: MEDICAL_RECORD_NUMBER }),
      ...withSystem(each),
    })),
    ...(active !== undefined && { active }),
    name: (name ?? [{}]).map(withName),
    ...others,
  };
}

/** A server's search for `|value` finds it all the same: the system still has no value. */
function withSystem(identifier: Identifier): Identifier {
  return identifier.system === undefined ? { _system: { extension: DATA_ABSENT }, ...identifier } : identifier;
}

/** us-core-6 (us-core-8 in earlier versions): family or given, or the reason why there is neither; never both. */
function withName(name: HumanName): HumanName {
  return name.family === undefined && name.given === undefined ? { extension: DATA_ABSENT, ...name } : name;
}
