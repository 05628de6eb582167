// One row of fhir_outbox, read from the slot or from the table, and checked.
import { z } from 'zod';
import { isObject } from '../../fhir/model/json.ts';
import { readIdentifier, type Token } from '../../fhir/model/token.ts';

const identifier = z.object({ system: z.string().nullable(), value: z.string().nullable(), primary: z.boolean() });

const row = z.object({
  id: z.coerce.number().int().positive(),
  txid: z.coerce.number().int(),
  table_name: z.string(),
  record_id: z.number().int(),
  operation: z.enum(['I', 'U', 'D']),
  // Its members are the mapping's: here only that it has some.
  payload_json: z.custom<Readonly<Record<string, unknown>>>(isObject),
  patient_id: z.number().int().nullable(),
  patient_revision: z.coerce.number().int(),
  previous_identifiers: z.array(identifier).nullable(),
  attempts: z.number().int(),
  // What was written before the column was there has none.
  traceparent: z.string().nullable().default(null),
});

export interface OutboxEvent {
  readonly id: number;
  /** 64-bit transaction id with its epoch, as pg_current_xact_id() gave it. */
  readonly txid: number;
  readonly table: string;
  readonly recordId: number;
  readonly operation: 'I' | 'U' | 'D';
  /** The resource's source rows as of this change; null when there was no patient left to read. */
  readonly payload: Readonly<Record<string, unknown>> | null;
  readonly patientId: number | null;
  readonly revision: number;
  /** What the identifiers were before this change, primary first; null when it changed none. */
  readonly previous: readonly PreviousIdentifier[] | null;
  readonly attempts: number;
  /** The application's span, as a W3C traceparent; null when it handed none in. */
  readonly traceparent: string | null;
  /** Memory that the row takes, about. */
  readonly bytes: number;
}

interface PreviousIdentifier extends Token {
  readonly primary: boolean;
}

export type ParsedEvent =
  | { readonly ok: true; readonly event: OutboxEvent }
  /** A row that this version cannot read: dead-lettered, never skipped. */
  | { readonly ok: false; readonly id: number; readonly txid: number; readonly reason: string };

/** What a row takes at least: a mapped patient with its identifiers and addresses, in memory. */
const ROW_BYTES = 2048;

/** `bytes`: how long the row was as it arrived. */
export function parseEvent(values: Readonly<Record<string, unknown>>, bytes = 0): ParsedEvent {
  const parsed = row.safeParse(values);
  if (!parsed.success) {
    const columns = [...new Set(parsed.error.issues.map((issue) => String(issue.path[0])))].join(', ');
    return {
      ok: false,
      id: Number(values.id),
      txid: Number(values.txid),
      reason: `The outbox row cannot be read: unexpected content in ${columns}.`,
    };
  }
  const data = parsed.data;
  return {
    ok: true,
    event: {
      id: data.id,
      txid: data.txid,
      table: data.table_name,
      recordId: data.record_id,
      operation: data.operation,
      payload: Object.keys(data.payload_json).length === 0 ? null : data.payload_json,
      patientId: data.patient_id,
      revision: data.patient_revision,
      previous:
        data.previous_identifiers?.flatMap(({ system, value, primary }) => {
          // Read as the mapper reads today's: identifiers that are equal to the server must be equal here.
          const reading = readIdentifier(system, value);
          return reading.kind === 'token' ? [{ ...reading.token, primary }] : [];
        }) ?? null,
      attempts: data.attempts,
      traceparent: data.traceparent,
      bytes: Math.max(ROW_BYTES, bytes),
    },
  };
}
