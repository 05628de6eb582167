// What may be repeated of PostgreSQL's words: those of this program's own SQL, and what the server says of rights and settings. All
// others may quote a row, for the database has triggers and functions that are not ours.

/** An error or a notice, https://www.postgresql.org/docs/current/protocol-error-fields.html . */
export interface Said {
  readonly message?: string | undefined;
  readonly code?: string | undefined;
  /** The stack of functions, the innermost first. Translated, but for the names. */
  readonly where?: string | undefined;
  /** The server's source file. */
  readonly file?: string | undefined;
}

/** RAISE of PL/pgSQL. */
const RAISED = 'pl_exec.c';
/** Blocks of a migration, and those of its functions that it calls; others of the database may have names like these. */
const OURS = /(?:^| |\.)(?:inline_code_block |fhir_watch\(|fhir_ensure_publication\(|fhir_grant_roles\()/;
/** Where 001_health_tables.sql repeats what another part of the server said. */
const REPEATED = /\(SQLSTATE ([0-9A-Z]{5}): [\s\S]*\)(?=\. Have its owner run)/;
/** Sentences of the server itself that name objects and settings alone: a missing right; a wal_level that is too low. */
const OF_THE_SERVER = new Set(['42501 aclchk.c', '55000 publicationcmds.c']);

export function toldWords({ message = '', code, where = '', file }: Said): string {
  const state = code ? `SQLSTATE ${code}` : 'no code';
  const [innermost = ''] = where.split('\n', 1);
  const isOurs = file === RAISED && OURS.test(innermost);
  if (isOurs || OF_THE_SERVER.has(`${code} ${file}`))
    return isOurs && REPEATED.test(message) ? message.replace(REPEATED, '(SQLSTATE $1)') : `${message} (${state})`;
  return `${state}. Its own words may quote a patient, and stand in the log of the server.`;
}
