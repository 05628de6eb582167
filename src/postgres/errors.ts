// What an error met on the way to PostgreSQL is: by SQLSTATE and socket code, never by message text, which may quote a row.
// https://www.postgresql.org/docs/current/errcodes-appendix.html

/** Classes in which the data, not the connection or the moment, is wrong. */
const DATA_ERRORS = new Set(['21', '22', '23', '54']);
/** A missing table, column, function or right: trying again cannot help, and going on would hide it. */
const PROGRAM_ERRORS = new Set(['42', '0A']);
/** query_canceled by statement_timeout, lock_not_available by lock_timeout. */
const TOOK_TOO_LONG = new Set<string | null>(['57014', '55P03']);

/** The SQLSTATE, or Node's code of a socket's error; null when there is none. */
export function errorCode(error: unknown): string | null {
  if (typeof error !== 'object' || error === null) return null;
  // Node tries every address of a name and hands the failures over together.
  if (error instanceof AggregateError && error.errors.length > 0 && !('code' in error && error.code))
    return errorCode(error.errors[0]);
  return 'code' in error && typeof error.code === 'string' ? error.code : null;
}

/**
 * Is it PostgreSQL's, or the way to it, and no bug of ours? pg gives a lost connection no code and no class of its own: it is a
 * plain Error. A bug is a TypeError or the like; Node gives its complaints about arguments a code as well.
 */
export function isPostgres(error: unknown): boolean {
  if (error instanceof TypeError) return false;
  return errorCode(error) !== null || (error instanceof Error && error.constructor === Error);
}

/** May the same succeed later? Not where the data or this program is wrong. */
export function mayPass(error: unknown): boolean {
  return isPostgres(error) && !isDataError(error) && !PROGRAM_ERRORS.has(errorCode(error)?.slice(0, 2) ?? '');
}

export function isDataError(error: unknown): boolean {
  return DATA_ERRORS.has(errorCode(error)?.slice(0, 2) ?? '');
}

/** PostgreSQL gave a statement up: a lock, its load, or very much to do. */
export function tookTooLong(error: unknown): boolean {
  return TOOK_TOO_LONG.has(errorCode(error));
}
