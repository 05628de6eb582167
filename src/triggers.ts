// The triggers that write the outbox, as sql/migrations/004_triggers.sql makes them: without one of them changes pass that nobody sends.

interface Trigger {
  readonly name: string;
  readonly table: string;
  readonly when: string;
  readonly does: string;
}

const CHANGES = [
  { event: 'insert', past: 'inserted', when: 'AFTER INSERT', tables: 'REFERENCING NEW TABLE AS new_rows' },
  {
    event: 'update',
    past: 'updated',
    when: 'AFTER UPDATE',
    tables: 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows',
  },
  { event: 'delete', past: 'deleted', when: 'AFTER DELETE', tables: 'REFERENCING OLD TABLE AS old_rows' },
  { event: 'truncate', past: 'truncated', when: 'BEFORE TRUNCATE', tables: '' },
];

export const TRIGGERS: readonly Trigger[] = [
  { table: 'patient', prefix: 'fhir_patient' },
  { table: 'patient_other_identifiers', prefix: 'fhir_other_identifier' },
].flatMap(({ table, prefix }) =>
  CHANGES.map(({ event, past, when, tables }) => ({
    name: `${prefix}_${event}`,
    table,
    when: `${when} ON public.${table} ${tables}`.trimEnd(),
    does: `public.${prefix}_${past}()`,
  })),
);
