// One look at the database: what it does not let us see is said, and does not keep us from looking at the rest.
import { errorCode } from '../replication/diagnosis.ts';
import type { Finding } from './finding.ts';

/** `check` names what was looked at where PostgreSQL refuses to tell (no right, a lock, a time-out). */
export async function look(check: string, work: () => Promise<Finding | Finding[]>): Promise<Finding[]> {
  try {
    return [await work()].flat();
  } catch (error) {
    const code = errorCode(error);
    if (code === null) throw error;
    const found = `PostgreSQL did not tell (SQLSTATE ${code}).`;
    return [{ check, verdict: 'unknown', found, fix: { say: 'Mend what is wrong above, and look again.' } }];
  }
}
