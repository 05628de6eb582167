// One look at the database: what it does not let us see is said, and does not keep us from looking at the rest.
import { errorCode, isPostgres } from '../replication/diagnosis.ts';
import type { Finding } from './finding.ts';

/** A statement's limit, or a lock's. */
const TOOK_TOO_LONG = new Set(['57014', '55P03']);
const WHO_BLOCKS = {
  say: 'See whether a transaction holds the table locked, end it if nobody needs it, and look again.',
  sql: 'SELECT pid, pg_blocking_pids(pid) AS blocked_by, query_start FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0;',
};

/** `check` names what was looked at where PostgreSQL refuses to tell (no right, a lock, a time-out). */
export async function look(check: string, work: () => Promise<Finding | Finding[]>): Promise<Finding[]> {
  try {
    return [await work()].flat();
  } catch (error) {
    if (!isPostgres(error)) throw error;
    const code = errorCode(error);
    if (code !== null && TOOK_TOO_LONG.has(code)) {
      const found = 'PostgreSQL did not tell in time.';
      return [{ check, verdict: 'unknown', found, fix: { say: WHO_BLOCKS.say, sql: WHO_BLOCKS.sql } }];
    }
    const found = `PostgreSQL did not tell (${code ?? 'the connection was lost'}).`;
    return [{ check, verdict: 'unknown', found, fix: { say: 'Mend what else is wrong, and look again.' } }];
  }
}
