// Which ids of a FHIR server may be told: all but those that are made of the patient.
import { describe, expect, it } from 'vitest';
import { toldId } from '../../src/fhir/model/told-id.ts';

const JANE = {
  resourceType: 'Patient',
  identifier: [
    { system: 'https://hospital.example.com/mrn', value: 'MRN/0042.7' },
    { system: 'urn:short', value: '42' },
    { system: 'urn:number', value: '1001' },
  ],
  name: [{ family: 'Doe', given: ['Jane Mary'] }],
  telecom: [{ value: '+1-555-123-4567' }],
  birthDate: '1990-01-15',
  address: [{ line: ['12 Main Street'], postalCode: '12345' }],
};

describe('an id', () => {
  it.each([
    ...['17', 'r7', '4711', '51001', '123', '12', '421', '0198c1f2-7d4e-7a31-9c55-3f9be2d0a111', '1990'],
    'W0b9a7c6',
  ])('that says nothing of the patient is told: %s', (id) => {
    expect(toldId(id, JANE)).toBe(id);
  });

  it.each([
    ...[
      'MRN-0042.7',
      'mrn00427',
      'pat-MRN00427-1',
      '1001',
      'p-1001',
      'doe',
      'jane.doe',
      'JaneMary',
      'x19900115',
      '15551234567',
    ],
    'main-1',
  ])('that is made of the patient is not: %s', (id) => {
    expect(toldId(id, JANE)).toBe('(withheld)');
  });

  it('that stands in the resource itself is told', () => {
    expect(toldId('r17', { ...JANE, id: 'r17', meta: { versionId: 'r17' } })).toBe('r17');
    expect(toldId('doe', { ...JANE, id: 'doe' })).toBe('(withheld)');
  });

  it('that is not there stays so, and is told where nothing is known of the resource', () => {
    expect(toldId(null, JANE)).toBeNull();
    expect(toldId('doe', null)).toBe('doe');
  });
});
