// Reading and writing the connector's tables through an outage of PostgreSQL: wait, never give up, never skip.
import type { Logger } from 'pino';
import { pause } from '../../pause.ts';

const RETRY_MS = 1000;

/** SQLSTATE classes in which the data, not the connection or the moment, is wrong. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const DATA_ERRORS = new Set(['21', '22', '23', '54']);
/** A missing table, column, function or right: trying again cannot help, and going on would hide it. */
const PROGRAM_ERRORS = new Set(['42', '0A']);

export function sqlState(error: unknown): string | null {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : null;
}

export function isDataError(error: unknown): boolean {
  return DATA_ERRORS.has(sqlState(error)?.slice(0, 2) ?? '');
}

/** pg gives a lost connection no code and no class of its own: it is a plain Error, which a bug of ours (TypeError …) is not. */
export function mayPass(error: unknown): boolean {
  const state = sqlState(error);
  // Node gives its complaints about arguments a code as well.
  if (error instanceof TypeError) return false;
  if (state === null) return error instanceof Error && error.constructor === Error;
  return !isDataError(error) && !PROGRAM_ERRORS.has(state.slice(0, 2));
}

/** `persistently` with its log and its signal. */
export type Persistently = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * Runs `work` until PostgreSQL answers, once a second. Data errors and programming errors are thrown at once; the
 * signal's reason is thrown when it is aborted.
 */
export async function persistently<T>(work: () => Promise<T>, log: Logger, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!mayPass(error)) throw error;
      // Neither message nor detail of an error from PostgreSQL is logged: they quote row values.
      log.warn({ code: sqlState(error) }, 'PostgreSQL did not answer; trying again in a second.');
      await pause(RETRY_MS, signal);
    }
  }
}
