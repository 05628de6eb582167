// When a failed delivery is tried again, and when it is given up. Pure: time and chance are passed in.

/** Retries that count end after this time of tries and waits even when attempts are left, in milliseconds. */
export const MAX_RETRY_TIME_MS = 120_000;

const BASE_MS = 250;
const CAP_MS = 30_000;

/**
 * The wait before the next try, in milliseconds. Exponential backoff with full jitter: anything between 0 and 250 ms × 2^failures,
 * at most 30 s; but no less than the server's own Retry-After.
 */
export function retryDelay(failures: number, retryAfterMs: number | null, random: number): number {
  return Math.max(retryAfterMs ?? 0, random * Math.min(CAP_MS, BASE_MS * 2 ** failures));
}

const FIRST_LOOK_MS = 5;
const LAST_LOOK_MS = 320;

/** How long to wait after so many looks in vain for what a connector of another shard delivers, in milliseconds. None is a failure. */
export function lookAgainMs(looks: number): number {
  return Math.min(LAST_LOOK_MS, FIRST_LOOK_MS * 2 ** looks);
}

/** `attempts` have failed and counted, with `triedMs` of tries and waits since the first. */
export function isExhausted(attempts: number, maxRetries: number, triedMs: number): boolean {
  return attempts > maxRetries || triedMs > MAX_RETRY_TIME_MS;
}

/** In so long a time, in milliseconds, an outage may begin and end. HAPI without its database answers after 30 seconds. */
const LONG_MS = 5000;

/**
 * Whether a failure that may be the server's is the patient's. It is where the server works afterwards, and an outage cannot have
 * begun and ended in between: it was seen working within 5 s (`afterMs`, from the begin of the try), or it also worked before,
 * after the failure before this one.
 */
export function isPatientsFault(afterMs: number, workedBefore: boolean, worksAfter: boolean): boolean {
  return worksAfter && (workedBefore || afterMs < LONG_MS);
}
