// One look at the database: what it does not let us see is said, and does not keep us from looking at the rest.
import { errorCode } from '../replication/diagnosis.ts';
import type { Finding } from './finding.ts';

/** `check` names what was looked at where PostgreSQL refuses to tell (no right, a lock, a time-out). */
export async function look(check: string, work: () => Promise<Finding | Finding[]>): Promise<Finding[]> {
  try {
    return [await work()].flat();
  } catch (error) {
    const code = errorCode(error);
    // pg gives a lost connection no code and no class of its own; a bug of ours is a TypeError or the like.
    if (code === null && !(error instanceof Error && error.constructor === Error)) throw error;
    const found = `PostgreSQL did not tell (${code ?? 'the connection was lost'}).`;
    return [{ check, verdict: 'unknown', found, fix: { say: 'Mend what else is wrong, and look again.' } }];
  }
}
