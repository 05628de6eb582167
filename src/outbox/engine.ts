// Assembles the outbox side for one database cluster: everything that holds state in memory, made and dropped together.
import type { Logger } from 'pino';
import type { FhirClient } from '../fhir/client/fhir-client.ts';
import { SendGate } from '../fhir/faults/send-gate.ts';
import type { Profile } from '../fhir/mapping/mapped-resource.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { settledWithin } from '../pause.ts';
import type { Shard } from '../shard.ts';
import { Courier } from './courier/courier.ts';
import { type Holding, SlotGuard, Stopped } from './courier/slot-guard.ts';
import type { Delivery, MapState } from './delivery/delivery.ts';
import { Lanes } from './lanes/lanes.ts';
import { Scheduler } from './lanes/scheduler.ts';
import { Window } from './lanes/window.ts';
import type { Database } from './tables/database.ts';
import { giveBack } from './tables/give-back.ts';
import { Links } from './tables/links.ts';
import { noteFailure } from './tables/note-failure.ts';
import { OtherShards } from './tables/other-shards.ts';
import { type Persistently, persistently } from './tables/outages.ts';
import { OutboxReader } from './tables/reader.ts';
import { Recorder } from './tables/recorder.ts';
import { standingLookup } from './tables/standing.ts';
import { type DeletePolicy, type UpdateMode, Writer } from './writer/writer.ts';

export interface DeliverySettings {
  /** Requests at once. */
  readonly concurrency: number;
  /** Deliveries in one request at most. */
  readonly batchSize: number;
  readonly maxRetries: number;
  readonly profile: Profile;
  readonly update: UpdateMode;
  readonly deletes: DeletePolicy;
}

export class DeliveryEngine {
  readonly scheduler: Scheduler;
  readonly reader: OutboxReader;
  readonly #gate: SendGate;
  readonly #guard = new SlotGuard();
  readonly #links: Links;
  readonly #metrics: Metrics;
  /** Ends waits (for a retry, the gate, the slot), not what is being sent or recorded. */
  readonly #endsWaits = new AbortController();
  /** Ends recording too. */
  readonly #endsRecording = new AbortController();
  #stopping: Promise<void> | null = null;

  constructor(db: Database, fhir: FhirClient, shard: Shard, settings: DeliverySettings, metrics: Metrics, log: Logger) {
    const waits = this.#endsWaits.signal;
    const mapState: MapState = (kind, operation, payload) =>
      kind.map(payload, settings.profile, operation === 'delete' && settings.deletes === 'deactivate');
    const throughOutages: Persistently = (work) => persistently(work, log, waits);
    const atOnce = settings.concurrency * settings.batchSize;
    this.#links = new Links(db, throughOutages);
    const others = new OtherShards(db, throughOutages, shard);
    this.#metrics = metrics;
    this.#gate = new SendGate({
      places: atOnce,
      probe: () => fhir.probe(),
      onState: (state, fault) => {
        metrics.breakerState.set(state);
        const why = { state, code: fault?.code, reason: fault?.reason };
        if (state === 'flowing') log.info({ state }, 'The FHIR server works: sending.');
        else if (state === 'outage')
          log.warn(
            why,
            'The FHIR server does not work: holding all deliveries, one probe a second. Nothing is lost or dead-lettered.',
          );
        else
          log.error(
            why,
            'The FHIR server refuses everything: holding all deliveries, one try a second. Check FHIR_SERVER and what the server demands.',
          );
      },
    });
    this.reader = new OutboxReader(db, mapState, throughOutages, waits);
    const courier = new Courier({
      gate: this.#gate,
      guard: this.#guard,
      links: this.#links,
      others,
      writer: new Writer(fhir, this.#links, others, settings.update, settings.deletes),
      recorder: new Recorder(db, metrics, log, this.#endsRecording.signal),
      metrics,
      log,
      signal: waits,
      maxRetries: settings.maxRetries,
      standing: standingLookup(db, throughOutages, shard),
      reload: (delivery) => this.reader.reload(delivery),
      giveBack: (delivery, owner) => throughOutages(() => giveBack(db, delivery, owner, log)),
      noteFailure: (delivery, reason, nextRetryAt) => noteFailure(db, delivery, reason, nextRetryAt, log),
    });
    const window = new Window(atOnce);
    metrics.deliveriesInFlight.follow(() => this.#gate.inFlight);
    metrics.deliveriesQueued.follow(() => window.deliveries);
    this.scheduler = new Scheduler({
      lanes: new Lanes<Delivery>(),
      window,
      links: this.#links,
      reader: this.reader,
      courier,
      mapState,
    });
  }

  /** The slot is ours: what was cached may be outdated, another connector may have worked meanwhile. */
  hold(holding: Holding): void {
    this.#links.forgetAll();
    this.#guard.hold(holding);
  }

  /** Another connector has ended links that may be in memory here. */
  forgetLinks(): void {
    this.#links.forgetAll();
  }

  /** The slot was lost: resolves when nothing is being sent or recorded any more, or after `timeoutMs` milliseconds. */
  quiet(timeoutMs: number): Promise<void> {
    return this.#guard.quiet(timeoutMs);
  }

  /** Starts nothing more; resolves when what is in flight is finished and recorded, or after `timeoutMs` milliseconds. */
  stop(timeoutMs: number): Promise<void> {
    // Whoever asks once more waits for the same end, and not for so long again.
    this.#stopping ??= this.#stop(timeoutMs);
    return this.#stopping;
  }

  async #stop(timeoutMs: number): Promise<void> {
    this.#endsWaits.abort(new Stopped());
    this.#guard.stop();
    this.#gate.close(new Stopped());
    this.#metrics.breakerState.set('flowing');
    await settledWithin(this.scheduler.empty(), timeoutMs);
    this.#endsRecording.abort(new Stopped());
  }

  /** As `stop`, when our server has been replaced by another one: what is not recorded at the first try never will be. */
  async abandon(timeoutMs: number): Promise<void> {
    this.#endsRecording.abort(new Stopped());
    await this.stop(timeoutMs);
  }
}
