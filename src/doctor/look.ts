// One look at the database: what it does not let us see is said, and does not keep us from looking at the rest.
import { errorCode, isPostgres, tookTooLong } from '../postgres/errors.ts';
import { type Finding, unknown } from './finding.ts';

const WHO_BLOCKS = {
  say: 'See who holds the tables locked, end that transaction if nobody needs it, and look again. Nobody? Then there was too much to count.',
  sql: "SELECT l.pid, a.usename, a.state, a.xact_start, c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND c.relname LIKE 'fhir%';",
};

/** `check` names what was looked at where PostgreSQL refuses to tell (no right, a lock, a time-out). */
export async function look(check: string, work: () => Promise<Finding | Finding[]>): Promise<Finding[]> {
  try {
    return [await work()].flat();
  } catch (error) {
    if (!isPostgres(error)) throw error;
    if (tookTooLong(error)) return [unknown(check, 'PostgreSQL did not tell in time.', WHO_BLOCKS)];
    const found = `PostgreSQL did not tell (${errorCode(error) ?? 'the connection was lost'}).`;
    return [unknown(check, found, { say: 'Mend what else is wrong, and look again.' })];
  }
}
