// Outbox rows for tests, as pg gives them: bigint as text, jsonb parsed.

export interface OutboxRow {
  id: number | string;
  txid: number | string;
  table_name: string;
  record_id: number;
  operation: 'I' | 'U' | 'D';
  payload_json: Record<string, unknown>;
  patient_id: number | null;
  patient_revision: number | string;
  previous_identifiers: readonly { system: string | null; value: string | null; primary: boolean }[] | null;
  attempts: number;
}

let lastId = 0;

/** An update of patient 1, its name alone, with the values of the test in place of its own. */
export function outboxRow(values: Partial<OutboxRow> = {}): Record<string, unknown> {
  lastId += 1;
  const patientId = values.patient_id === undefined ? 1 : values.patient_id;
  return {
    id: String(lastId),
    txid: '700',
    table_name: 'patient',
    record_id: patientId ?? 1,
    operation: 'U',
    payload_json: { id: patientId, identifier_system: 'urn:t', identifier_value: `p${patientId}` },
    patient_id: patientId,
    patient_revision: String(lastId),
    previous_identifiers: null,
    attempts: 0,
    ...values,
  } satisfies Record<keyof OutboxRow, unknown>;
}
