// One look at the database: what it does not let us see is said, and does not keep us from looking at the rest.
import { errorCode, isPostgres } from '../replication/diagnosis.ts';
import type { Finding } from './finding.ts';

/** `check` names what was looked at where PostgreSQL refuses to tell (no right, a lock, a time-out). */
export async function look(check: string, work: () => Promise<Finding | Finding[]>): Promise<Finding[]> {
  try {
    return [await work()].flat();
  } catch (error) {
    if (!isPostgres(error)) throw error;
    const found = `PostgreSQL did not tell (${errorCode(error) ?? 'the connection was lost'}).`;
    return [{ check, verdict: 'unknown', found, fix: { say: 'Mend what else is wrong, and look again.' } }];
  }
}
