// When a failed delivery is tried again, and when it is given up. Pure: time and chance are passed in.

/** Retries that count end after this time of tries and waits even when attempts are left, in milliseconds. */
export const MAX_RETRY_TIME_MS = 120_000;

const BASE_MS = 250;
const CAP_MS = 30_000;

/** Exponential backoff with full jitter, in milliseconds: anything between 0 and 250 ms × 2^failures, at most 30 s. */
export function backoff(failures: number, random: number): number {
  return random * Math.min(CAP_MS, BASE_MS * 2 ** failures);
}

/** The wait before the next try: the server's own Retry-After where it gave one. */
export function retryDelay(failures: number, retryAfterMs: number | null, random: number): number {
  return Math.max(retryAfterMs ?? 0, backoff(failures, random));
}

/** `attempts` have failed and counted, with `triedMs` of tries and waits since the first. */
export function isExhausted(attempts: number, maxRetries: number, triedMs: number): boolean {
  return attempts > maxRetries || triedMs > MAX_RETRY_TIME_MS;
}

/** In so long a time, in milliseconds, an outage may begin and end. HAPI without its database answers after 30 seconds. */
const LONG_MS = 5000;

/**
 * A failure may be the server's. That it works afterwards makes the failure the patient's, when that is known soon: `afterMs`
 * is from the begin of the try. Later it must also have worked before: after the failure before this one.
 */
export function isPatientsFault(afterMs: number, workedBefore: boolean, worksAfter: boolean): boolean {
  return worksAfter && (workedBefore || afterMs < LONG_MS);
}
