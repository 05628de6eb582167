// What the FHIR servers of the tests and of the benchmark say of themselves: all that the connector needs.

const offered = (type: string) => ({
  type,
  interaction: ['read', 'update', 'delete', 'search-type'].map((code) => ({ code })),
  versioning: 'versioned-update',
  conditionalUpdate: true,
});

/** https://hl7.org/fhir/R4/capabilitystatement.html */
export function capabilityStatement(software: string): Record<string, unknown> {
  return {
    resourceType: 'CapabilityStatement',
    fhirVersion: '4.0.1',
    software: { name: software },
    rest: [
      {
        mode: 'server',
        resource: ['Patient', 'Encounter', 'Observation'].map(offered),
        interaction: [{ code: 'transaction' }],
      },
    ],
  };
}
