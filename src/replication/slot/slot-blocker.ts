// Which transaction the making of a slot waits for: PostgreSQL waits for all that were open when it began, however long that takes.
import { setInterval } from 'node:timers/promises';
import type pg from 'pg';
import type { Logger } from 'pino';

/** Transactions end before it as a rule, and nobody is told of those. */
const LOOK_EVERY_MS = 1000;
const TELL_AFTER_LOOKS = 2;

export interface Blocker {
  /** 0: a prepared transaction, which no process has. */
  process: number;
  /** Null for a prepared transaction. */
  role: string | null;
  /** Null where the connector's role may not see it: pg_monitor may. */
  openSeconds: number | null;
}

/** Makes the slot by `make`, and meanwhile asks through `control` what `walsender`, the process that makes it, waits for. */
export async function tellingOfBlockers<T>(
  control: pg.Client,
  walsender: number,
  log: Logger,
  make: () => Promise<T>,
): Promise<T> {
  const made = new AbortController();
  // A look that fails is none: what is wrong with `control` shows as soon as the slot is made.
  watchForBlockers(control, walsender, log, made.signal).catch(() => undefined);
  try {
    return await make();
  } finally {
    made.abort();
  }
}

async function watchForBlockers(
  control: pg.Client,
  walsender: number,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  let looks = 0;
  let before: number | null = null;
  for await (const _ of setInterval(LOOK_EVERY_MS, undefined, { signal })) {
    const { rows } = await control.query<Blocker>(BLOCKER, [walsender]);
    const [found] = rows;
    looks = found && found.process === before ? looks + 1 : 1;
    before = found?.process ?? null;
    if (found && looks === TELL_AFTER_LOOKS && !signal.aborted) warnOf(found, log);
  }
}

function warnOf({ openSeconds, ...blocker }: Blocker, log: Logger): void {
  if (blocker.process === 0)
    log.warn(
      'PostgreSQL waits for a prepared transaction before it makes the slot: pg_prepared_xacts lists them, COMMIT PREPARED or ROLLBACK PREPARED ends one.',
    );
  else
    log.warn(
      openSeconds === null ? blocker : { ...blocker, openSeconds },
      'PostgreSQL waits for the transaction of this process before it makes the slot: pg_terminate_backend ends it, if nobody needs it.',
    );
}

/** https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SESSION : whose lock a process waits for. */
export const BLOCKER = `
  SELECT blocking.pid AS process, a.usename AS role, round(extract(epoch FROM clock_timestamp() - a.xact_start))::int AS "openSeconds"
    FROM unnest(pg_blocking_pids($1)) AS blocking (pid) LEFT JOIN pg_stat_activity a USING (pid)
   ORDER BY a.xact_start NULLS LAST LIMIT 1`;
