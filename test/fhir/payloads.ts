// payload_json of the patient tables, as the triggers write it: to_jsonb(patient) with other_identifiers.

/** A row of which only the identifier was given: every column that may be null is null. */
const BARE_ROW = {
  id: 7,
  active: true,
  birth_date: null,
  deceased: false,
  name_family: null,
  name_given: null,
  name_text: null,
  identifier_value: 'MRN-1',
  identifier_system: 'https://hospital.example.com/mrn',
  phone_number: null,
  email: null,
  address_line: null,
  address_city: null,
  address_state: null,
  address_postal_code: null,
  address_country: null,
  gender: null,
  created_at: '2026-01-02T03:04:05.619933+00:00',
  updated_at: '2026-01-02T03:04:05.619933+00:00',
  other_identifiers: [],
};

export function payloadOf(columns: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return { ...BARE_ROW, ...columns };
}
