// Where we are: what is kept in memory for one server and timeline, made and dropped together.
import type { Logger } from 'pino';
import type { FhirClient } from './fhir/client/fhir-client.ts';
import type { Metrics } from './metrics/metrics.ts';
import { CatchUp } from './outbox/catch-up/catch-up.ts';
import { DeliveryEngine, type DeliverySettings } from './outbox/engine.ts';
import type { Database } from './outbox/tables/database.ts';
import { Retention } from './outbox/upkeep/retention.ts';
import type { KnownServer } from './replication/server/known-server.ts';
import { namesOf, type SlotSettings } from './replication/slot/slot-settings.ts';

export interface ServerSessionParts {
  readonly slot: SlotSettings;
  readonly outbox: DeliverySettings;
  readonly shutdownTimeoutMs: number;
  /** 0: nothing is removed. */
  readonly retentionDays: number;
  /** Opens a database all of whose connections reach `server`, whatever DB_HOST leads to meanwhile. */
  openDatabase(server: KnownServer): Database;
  readonly fhir: FhirClient;
  readonly metrics: Metrics;
  readonly log: Logger;
}

export interface AtServer {
  readonly server: KnownServer;
  readonly db: Database;
  readonly engine: DeliveryEngine;
  readonly catchUp: CatchUp;
  readonly retention: Retention;
}

const ANOTHER_SERVER =
  'PostgreSQL is another cluster or on a new timeline: dropping all state in memory and catching up from the outbox.';
const PUT_BACK =
  'PostgreSQL is behind a position that it had reached (were files of before put back?): dropping all state in memory and going on with the slot that it has now.';

/** One after the other: at most one server's state is in memory. */
export class ServerSession {
  readonly #parts: ServerSessionParts;
  #at: AtServer | null = null;
  /** Where we were last, also when nothing of it is in memory any more. */
  #last: KnownServer | null = null;

  constructor(parts: ServerSessionParts) {
    this.#parts = parts;
  }

  /** What was begun on another server ends before anything is read on this one. At the same server again it gives the same. */
  async arrive(server: KnownServer): Promise<AtServer> {
    if (this.#last && !this.#last.canBe(server)) {
      this.#parts.log.warn({ identity: server.identity }, this.#last.isSameAs(server) ? PUT_BACK : ANOTHER_SERVER);
      this.#last.retire();
      await this.#at?.engine.abandon(this.#parts.shutdownTimeoutMs);
      // Its server may not answer any more: nobody waits for that.
      this.#at?.db.destroy().catch(() => undefined);
      this.#at = null;
      this.#last = null;
    }
    this.#last ??= server;
    this.#last.saw(server.reached);
    this.#at ??= this.#settle(this.#last);
    return this.#at;
  }

  /** Starts nothing more; resolves when what is in flight is finished and recorded, or SHUTDOWN_TIMEOUT_MS is over. */
  async stopDelivery(): Promise<void> {
    await this.#at?.engine.stop(this.#parts.shutdownTimeoutMs);
  }

  /** Another connector has ended links that may be in memory here. */
  forgetLinks(): void {
    this.#at?.engine.forgetLinks();
  }

  /** As `stopDelivery`, and then drops all that is in memory. */
  async leave(): Promise<void> {
    const left = this.#at;
    await this.stopDelivery();
    this.#at = null;
    await left?.db.destroy();
  }

  #settle(server: KnownServer): AtServer {
    const { slot, outbox, fhir, metrics, log, openDatabase, retentionDays } = this.#parts;
    const db = openDatabase(server);
    return {
      server,
      db,
      engine: new DeliveryEngine(db, fhir, slot.shard, outbox, metrics, log),
      catchUp: new CatchUp(db, server, namesOf(slot).slot, slot.shard, metrics, log),
      retention: new Retention(db, retentionDays, metrics, log),
    };
  }
}
