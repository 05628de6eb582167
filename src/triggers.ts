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

/** A row for each trigger on the tables, as TriggerRow. */
export const TRIGGER_ROWS = `
  SELECT tgname AS name, tgenabled AS enabled FROM pg_catalog.pg_trigger
   WHERE tgrelid IN (to_regclass('public.patient'), to_regclass('public.patient_other_identifiers')) AND NOT tgisinternal`;

export interface TriggerRow {
  readonly name: string;
  /** https://www.postgresql.org/docs/current/catalog-pg-trigger.html : O fires unless session_replication_role is replica, A always. */
  readonly enabled: string;
}

/** Those that do not fire for an application. */
export function triggersOff(rows: readonly TriggerRow[]): { missing: Trigger[]; asleep: Trigger[] } {
  const state = new Map(rows.map(({ name, enabled }) => [name, enabled]));
  return {
    missing: TRIGGERS.filter(({ name }) => !state.has(name)),
    asleep: TRIGGERS.filter(({ name }) => state.has(name) && !['O', 'A'].includes(state.get(name) ?? '')),
  };
}
