// Dead letters that wait for a resource that they refer to: sent again once that is on the FHIR server, while the slot is ours.
import { sql } from 'kysely';
import type { Logger } from 'pino';
import { pause } from '../../pause.ts';
import { errorCode } from '../../postgres/errors.ts';
import { onlyRow } from '../../postgres/only-row.ts';
import { roomInOutbox } from '../operator/room.ts';
import type { Database } from '../tables/database.ts';

const NOT_LOOKED_AT = 'Dead letters that wait for another resource could not be looked at; trying again.';
const INTERVAL_MS = 2000;
/** Of which one transaction emits rows, whose writers wait meanwhile. */
const AT_ONCE = 25;

/** fhir_replay_waiting, with the last id that it looked at as the text that it arrives as; null at the end. */
interface Step {
  readonly last_id: string | null;
  readonly replayed: number;
}

/** Looks every two seconds until `signal` is aborted. Never rejects: what fails is tried again. */
export async function replayWaiting(db: Database, log: Logger, signal: AbortSignal): Promise<void> {
  let failing = false;
  while (!signal.aborted) {
    try {
      await replayAll(db, log, signal);
      failing = false;
    } catch (error) {
      if (signal.aborted) return;
      if (!failing) log.warn({ code: errorCode(error) }, NOT_LOOKED_AT);
      failing = true;
    }
    await pause(INTERVAL_MS, signal).catch(() => undefined);
  }
}

/** In the order of their numbers, behind each other's changes and those of everybody else. */
async function replayAll(db: Database, log: Logger, signal: AbortSignal): Promise<void> {
  for (let after: string | null = '0'; after !== null; ) {
    await roomInOutbox(db, () => undefined, signal);
    const { replayed, last_id }: Step = onlyRow(
      await sql<Step>`SELECT * FROM fhir_replay_waiting(${after}::bigint, ${AT_ONCE})`.execute(db),
    );
    if (replayed > 0) log.info({ replayed }, 'What dead letters waited for is there: sending them again.');
    after = last_id;
  }
}
