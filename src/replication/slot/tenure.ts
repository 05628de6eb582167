// One tenure of the replication slot, from taking it to losing it.
import type pg from 'pg';
import type { Logger } from 'pino';
import { untilAborted } from '../../pause.ts';
import { type Lsn, parseLsn } from '../../postgres/lsn.ts';
import { onlyRow } from '../../postgres/only-row.ts';
import { LINKS_CHANGED } from '../../shard.ts';
import { Feedback } from '../acknowledgement/feedback.ts';
import { type KnownServer, watchServer } from '../server/known-server.ts';
import { ReplicationConnection, SIGN_OF_LIFE_MS } from '../stream/connection.ts';
import type { ReplicationMessage } from '../stream/messages.ts';
import { controlConnection } from './control-connection.ts';
import { SlotLease } from './lease.ts';
import { type CatchUpPort, type ReadySlot, setUp } from './set-up.ts';
import { dropOtherCounts } from './shard-count.ts';
import { namesOf, type SlotSettings } from './slot-settings.ts';
import { waitForTurn } from './turn.ts';

/** All that comes back from here while the slot is taken and held. */
export interface TenureCallbacks {
  /** Somebody else has the slot, or this is a standby: called once, when the waiting begins. */
  standingBy(): Promise<void>;
  /** The slot is ours, and this is the server: what catches up there, before anything is read. */
  catchUpAt(server: KnownServer): Promise<CatchUpPort>;
  /** A connector of another shard has ended links; called until the tenure ends. */
  linksChanged(): void;
}

/**
 * Two connections: the one that replicates, and the control connection beside it. Losing either ends the tenure, as does
 * a lease that cannot be renewed, or a DB_HOST that leads elsewhere. It never comes back: the next one is taken anew.
 */
export class Tenure {
  readonly slot: string;
  readonly server: KnownServer;
  /** False: what the outbox holds unprocessed must be delivered before anything is read from the slot. */
  readonly caughtUp: boolean;
  readonly feedback: Feedback;
  readonly lease = new SlotLease();
  readonly #control: pg.Client;
  readonly #connection: ReplicationConnection;
  readonly #ended = new AbortController();

  private constructor(
    control: pg.Client,
    connection: ReplicationConnection,
    settings: SlotSettings,
    { server, caughtUp, confirmed }: ReadySlot,
  ) {
    this.#control = control;
    this.#connection = connection;
    this.slot = namesOf(settings).slot;
    this.server = server;
    this.caughtUp = caughtUp;
    this.feedback = new Feedback({
      confirmed,
      control,
      sendStatus: (acknowledged) => connection.sendStatus(acknowledged),
      onFault: (error) => this.#lose(error),
    });
    // PostgreSQL's fast shutdown ends SQL connections first and then waits for us to confirm all WAL, which unfinished
    // work forbids. Losing the control connection therefore ends the tenure: nobody's shutdown is held up.
    control.on('error', (error) => this.#lose(error));
    control.on('end', () => this.#lose(new Error('PostgreSQL closed the control connection.')));
    this.lease
      .renew(control, this.slot, connection.walsenderPid, this.#ended.signal)
      .catch((error: Error) => this.#lose(error));
    watchServer(server, settings.config, this.#ended.signal).catch((error: Error) => this.#lose(error));
  }

  /** Waits until the slot is ours and streaming. Rejects with PostgreSQL's error or a FatalError; the caller decides about trying again. */
  static async take(
    settings: SlotSettings,
    callbacks: TenureCallbacks,
    log: Logger,
    signal: AbortSignal,
  ): Promise<Tenure> {
    const control = controlConnection(settings.config);
    let connection: ReplicationConnection | null = null;
    // Making a slot waits for the transactions of others, for hours perhaps; a stop does not wait for that.
    const giveUp = () => void connection?.close();
    signal.addEventListener('abort', giveUp);
    try {
      await untilAborted(control.connect(), signal);
      await waitForTurn(control, settings, log, callbacks.standingBy, signal);
      // Before anything is read into memory that it may tell of.
      if (settings.shard.count > 1) {
        control.on('notification', callbacks.linksChanged);
        await control.query(`LISTEN ${LINKS_CHANGED}`);
      }
      // Making a slot can take long, and who is silent for long is taken for dead.
      const alive = setInterval(() => control.query('SELECT').catch(() => undefined), SIGN_OF_LIFE_MS);
      try {
        const config = { ...settings.config, application_name: 'fhir-connector' };
        connection = await ReplicationConnection.open(config, namesOf(settings).publication);
        signal.throwIfAborted();
        const ready = await setUp(control, connection, settings, callbacks.catchUpAt, log);
        await dropOtherCounts(control, settings, log);
        return new Tenure(control, connection, settings, ready);
      } finally {
        clearInterval(alive);
      }
    } catch (error) {
      await connection?.close();
      await control.end().catch(() => undefined);
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** Batches in WAL order, until `stopReading`; throws when the slot is lost. */
  async *messages(): AsyncGenerator<readonly ReplicationMessage[]> {
    try {
      yield* this.#connection.messages();
    } catch (error) {
      this.#lose(error as Error);
      throw error;
    }
    this.#ended.signal.throwIfAborted();
  }

  /** Aborted, with the error as its reason, when the slot is lost or given back. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /**
   * Where the WAL stands and which transactions are visible, now that the slot is ours: what ends later than `newAfter` nobody
   * else can have read. (The insert position, not the flushed one: an asynchronous commit is visible before it is flushed.)
   */
  async standpoint(): Promise<{ newAfter: Lsn; snapshot: string }> {
    const result = await this.#control
      .query<{ inserted: string; snapshot: string }>(
        'SELECT pg_current_snapshot()::text AS snapshot, pg_current_wal_insert_lsn()::text AS inserted',
      )
      .catch((error: Error) => {
        this.#lose(error);
        throw error;
      });
    const { inserted, snapshot } = onlyRow(result);
    return { newAfter: parseLsn(inserted), snapshot };
  }

  /** Ends `messages` while the slot stays ours, so that what is in flight can be finished and acknowledged. */
  stopReading(): void {
    this.#connection.stopReading();
  }

  /** Nothing is begun any more. Whichever connection is left keeps others from taking the slot until `close`. */
  #lose(error: Error): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(error);
    this.lease.revoke();
    this.feedback.stop();
    this.#connection.stopReading();
  }

  /** Sends the last position, then gives the slot back. */
  async close(): Promise<void> {
    this.#lose(new Error('The replication slot was given back.'));
    await this.feedback.last();
    await this.#connection.close();
    await this.#control.end().catch(() => undefined);
  }
}
