// Retention: removes what is finished and old, in small steps, while the slot is ours; a failure never touches delivery.
import { sql } from 'kysely';
import type { Logger } from 'pino';
import type { Metrics } from '../../metrics/metrics.ts';
import { pause } from '../../pause.ts';
import { errorCode } from '../../postgres/errors.ts';
import type { Database } from '../tables/database.ts';

const INTERVAL_MS = 3_600_000;
/** Rows that one transaction looks at: some ten milliseconds, so that it delays no record and vacuum keeps up. */
const BATCH = 1000;

/** What fhir_cleanup_step answers: how many rows it removed of each table, and where the next step begins. bigints arrive as text. */
interface Step {
  readonly outbox_rows: string;
  readonly dlq_rows: string;
  readonly processed_events: string;
  readonly next_outbox_id: string | null;
  readonly next_event_id: string | null;
}

interface Removed {
  readonly outboxRows: number;
  readonly deadLetters: number;
  readonly processedEvents: number;
}

export class Retention {
  readonly #db: Database;
  readonly #days: number;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  /** performance.now() of the next clean-up: a connection that comes and goes does not bring it forward. */
  #dueAt = 0;

  /** `days`: outbox rows are kept for so long, processed events and resolved dead letters three times that; 0: for ever. */
  constructor(db: Database, days: number, metrics: Metrics, log: Logger) {
    this.#db = db;
    this.#days = days;
    this.#metrics = metrics;
    this.#log = log;
  }

  /** Cleans up at once and then every hour, until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#days === 0) return;
    while (!signal.aborted) {
      await pause(Math.max(0, this.#dueAt - performance.now()), signal).catch(() => undefined);
      if (signal.aborted) return;
      this.#dueAt = performance.now() + INTERVAL_MS;
      await this.#cleanUp(signal);
    }
  }

  async #cleanUp(signal: AbortSignal): Promise<void> {
    try {
      const removed = await this.#removeOld(signal);
      this.#log.info({ ...removed, days: this.#days }, 'Cleaned up what was finished and old.');
    } catch (error) {
      if (signal.aborted) return;
      this.#metrics.cleanUpFailures.inc();
      this.#log.warn(
        { code: errorCode(error) },
        'The clean-up failed and is tried again in an hour; deliveries go on. With the code 42883 or 42501, run migrate.',
      );
    }
  }

  /** Each step is a transaction of its own: no row stays locked for long, and what is removed stays so when a later one fails. */
  async #removeOld(signal: AbortSignal): Promise<Removed> {
    const removed = { outboxRows: 0, deadLetters: 0, processedEvents: 0 };
    for (let from: Pick<Step, 'next_outbox_id' | 'next_event_id'> = { next_outbox_id: '0', next_event_id: '0' }; ; ) {
      const started = performance.now();
      const { rows } = await sql<Step>`
        SELECT * FROM fhir_cleanup_step(${this.#days}, ${BATCH}, ${from.next_outbox_id}::bigint, ${from.next_event_id}::bigint)`.execute(
        this.#db,
      );
      const step = rows[0];
      if (!step) return removed;
      this.#count(removed, step);
      from = step;
      if (step.next_outbox_id === null && step.next_event_id === null && Number(step.dlq_rows) < BATCH) return removed;
      // Half of the time is left to the records.
      await pause(performance.now() - started, signal);
    }
  }

  #count(removed: { -readonly [Key in keyof Removed]: number }, step: Step): void {
    const rows = this.#metrics.removedByCleanUp;
    removed.outboxRows += Number(step.outbox_rows);
    removed.deadLetters += Number(step.dlq_rows);
    removed.processedEvents += Number(step.processed_events);
    rows.inc({ table: 'fhir_outbox' }, Number(step.outbox_rows));
    rows.inc({ table: 'fhir_dlq' }, Number(step.dlq_rows));
    rows.inc({ table: 'fhir_processed_event' }, Number(step.processed_events));
  }
}
