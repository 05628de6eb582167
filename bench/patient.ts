// The Patient that the connector would send for a patient of the benchmark, without the connector.

/** Without telecom. */
export const PATIENT = {
  resourceType: 'Patient',
  meta: { profile: ['http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient'] },
  identifier: [{ system: 'urn:bench', value: '1' }],
  active: true,
  name: [{ text: 'Jane Doe', family: 'Doe', given: ['Jane'] }],
  gender: 'female',
  birthDate: '1990-01-15',
  address: [{ line: ['1 Main Street'], city: 'Boston', state: 'MA', postalCode: '02101', country: 'US' }],
};

/** The body of its PUT by id; `phone` is the number of its state, by which the sink tells older from newer. */
export function patientBody(id: string, phone: number | string): string {
  return JSON.stringify({ ...PATIENT, telecom: [{ system: 'phone', value: String(phone) }], id });
}
