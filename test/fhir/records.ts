// Rows of the tables of which each row is one resource, as a trigger writes them.

/** Of this table, with these columns; what is not named is NULL, as a row has it. */
export function recordPayload(table: string, columns: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const id = 7;
  return {
    id,
    patient_id: 3,
    ...EMPTY[table],
    created_at: '2024-01-15T10:30:00+00:00',
    updated_at: '2024-01-15T10:30:00+00:00',
    fhir_identifier: { system: 'urn:uuid:0f5c1c4e-6a52-4d0a-9d0f-3f3b6b1c7a11', value: `${table}/${id}` },
    ...columns,
  };
}

const EMPTY: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  form: { name: null, encounter_date: '2024-01-15T10:30:00-05:00' },
  blood_pressure: {
    form_id: null,
    systolic_pressure: null,
    diastolic_pressure: null,
    measurement_time: '2024-01-15T10:35:00-05:00',
    position: null,
    location: null,
    comment: null,
  },
  pulse: {
    form_id: null,
    rate: null,
    measurement_time: '2024-01-15T10:36:00-05:00',
    regularity: null,
    method: null,
    body_site: null,
    comment: null,
  },
};
