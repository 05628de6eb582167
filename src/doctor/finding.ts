// What `doctor` says of one thing that it looked at, and what mends it.

/** `warning`: it works, and something about it will hurt one day. `unknown`: it could not be looked at. */
export type Verdict = 'ok' | 'warning' | 'fault' | 'unknown';

export interface Fix {
  /** One sentence: what to do, and as whom. */
  readonly say: string;
  /** Statements for psql that do it; absent where no statement can. */
  readonly sql?: string;
}

export interface Finding {
  /** What was looked at, in a few words. */
  readonly check: string;
  readonly verdict: Verdict;
  /** One sentence: how it is. */
  readonly found: string;
  /** Null where nothing is to be mended, or `found` says what to do. */
  readonly fix: Fix | null;
}

const MOST_NAMED = 5;

export function ok(check: string, found: string): Finding {
  return { check, verdict: 'ok', found, fix: null };
}

export function fault(check: string, found: string, fix: Fix | null): Finding {
  return { check, verdict: 'fault', found, fix };
}

export function warning(check: string, found: string, fix: Fix): Finding {
  return { check, verdict: 'warning', found, fix };
}

export function unknown(check: string, found: string, fix: Fix): Finding {
  return { check, verdict: 'unknown', found, fix };
}

/** Names for a sentence: the first few, and how many more there are. */
export function listed(names: readonly string[]): string {
  const more = names.length - MOST_NAMED;
  return `${names.slice(0, MOST_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
