// The triggers that write the outbox, as sql/migrations makes them: without one of them changes pass that nobody sends.

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

/** Those of 004_triggers.sql; fhir_watch makes all others. */
const PREFIXES: Readonly<Record<string, string>> = {
  patient: 'fhir_patient',
  patient_other_identifiers: 'fhir_other_identifier',
};

/** A row for each trigger on the tables whose changes are sent, as TriggerRow; for a table without one a row of its own. */
export const TRIGGER_ROWS = `
  SELECT watched.name AS "table", t.tgname AS name, t.tgenabled AS enabled
    FROM (SELECT table_name AS name FROM public.fhir_source WHERE watched UNION ALL SELECT 'patient_other_identifiers') AS watched
    LEFT JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = to_regclass(format('public.%I', watched.name)) AND NOT t.tgisinternal`;

export interface TriggerRow {
  readonly table: string;
  readonly name: string | null;
  /** https://www.postgresql.org/docs/current/catalog-pg-trigger.html : O fires unless session_replication_role is replica, A always. */
  readonly enabled: string | null;
}

/** Those that do not fire for an application, of all that there should be. */
export function triggersOff(rows: readonly TriggerRow[]): {
  readonly expected: readonly Trigger[];
  readonly missing: readonly Trigger[];
  readonly asleep: readonly Trigger[];
} {
  const expected = [...new Set(rows.map(({ table }) => table))].flatMap(triggersOf);
  const state = (trigger: Trigger) =>
    rows.find(({ table, name }) => table === trigger.table && name === trigger.name)?.enabled ?? null;
  return {
    expected,
    missing: expected.filter((trigger) => state(trigger) === null),
    asleep: expected.filter((trigger) => !['O', 'A', null].includes(state(trigger))),
  };
}

/** A part of a sentence for each. */
export function told({ missing, asleep }: Pick<ReturnType<typeof triggersOff>, 'missing' | 'asleep'>): string[] {
  return [
    ...missing.map(({ name, table }) => `${name} on ${table} is missing`),
    ...asleep.map(({ name, table }) => `${name} on ${table} is disabled`),
  ];
}

/** Makes it, without a semicolon. */
export function statementFor({ name, when, does }: Trigger): string {
  return `CREATE TRIGGER ${name} ${when} FOR EACH STATEMENT EXECUTE FUNCTION ${does}`;
}

function triggersOf(table: string): Trigger[] {
  const prefix = PREFIXES[table] ?? 'fhir_record';
  return CHANGES.map(({ event, past, when, tables }) => ({
    name: `${prefix}_${event}`,
    table,
    when: `${when} ON public.${table} ${tables}`.trimEnd(),
    does: `public.${prefix}_${past}()`,
  }));
}
