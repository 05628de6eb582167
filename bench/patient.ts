// The body of a PUT as the connector would send it for a patient of the benchmark, without the connector.

export function patientBody(id: string, phone: number): string {
  return JSON.stringify({
    resourceType: 'Patient',
    meta: { profile: ['http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient'] },
    identifier: [{ system: 'urn:bench', value: id }],
    active: true,
    name: [{ text: 'Jane Doe', family: 'Doe', given: ['Jane'] }],
    telecom: [{ system: 'phone', value: String(phone) }],
    gender: 'female',
    birthDate: '1990-01-15',
    address: [{ line: ['1 Main Street'], city: 'Boston', state: 'MA', postalCode: '02101', country: 'US' }],
    id,
  });
}
