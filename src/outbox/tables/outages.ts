// Reading and writing the connector's tables through an outage of PostgreSQL: wait, never give up, never skip.
import type { Logger } from 'pino';
import { pause } from '../../pause.ts';
import { errorCode, mayPass } from '../../postgres/errors.ts';

const RETRY_MS = 1000;

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
      log.warn({ code: errorCode(error) }, 'PostgreSQL did not answer; trying again in a second.');
      await pause(RETRY_MS, signal);
    }
  }
}
