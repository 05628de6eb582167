// Notes a failed try on the outbox rows of its delivery.
import { sql } from 'kysely';
import type { Logger } from 'pino';
import { errorCode } from '../../postgres/errors.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { Database } from './database.ts';

/** For people who look at the table, and for the count of attempts after a restart; it decides nothing now, so it may fail. */
export async function noteFailure(
  db: Database,
  { attempts, outboxIds }: Delivery,
  reason: string,
  nextRetryAt: Date,
  log: Logger,
): Promise<void> {
  try {
    await sql`UPDATE fhir_outbox SET attempts = ${attempts}, next_retry_at = ${nextRetryAt}, last_error = ${reason}
               WHERE id = ANY (${outboxIds}::bigint[]) AND NOT processed`.execute(db);
  } catch (error) {
    log.debug({ code: errorCode(error), outboxIds }, 'The failure could not be noted on the outbox rows.');
  }
}
