// A slot that PostgreSQL is still making: what does it wait for?
import type pg from 'pg';
import { BLOCKER, type Blocker } from '../replication/slot/slot-blocker.ts';
import { type Finding, fault, warning } from './finding.ts';

/** Nothing is delivered meanwhile, and `wait` says how much waits. `maker`: the process in which it is made. */
export async function makingFinding(
  client: pg.Client,
  maker: number,
  check: string,
  slot: string,
  wait: string,
): Promise<Finding> {
  const { rows } = await client.query<Blocker>(BLOCKER, [maker]);
  const [blocker] = rows;
  if (!blocker) return warning(check, `PostgreSQL makes ${slot}; ${wait}.`, { say: 'It takes a moment: look again.' });
  const { process, role, openSeconds } = blocker;
  const whose = role === null ? '' : ` of ${role}`;
  const before = openSeconds === null ? 'before' : `before, for ${openSeconds} s now`;
  return fault(
    check,
    `PostgreSQL makes ${slot}, and waits for a transaction${whose} that was open ${before}; ${wait}.`,
    {
      say: 'It ends by itself when that transaction does. If nobody needs it, end it, as a superuser.',
      sql:
        process === 0
          ? 'SELECT gid, prepared, owner, database FROM pg_prepared_xacts; -- then ROLLBACK PREPARED or COMMIT PREPARED'
          : `SELECT pg_terminate_backend(${process});`,
    },
  );
}
