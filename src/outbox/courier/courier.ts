// The courier takes one delivery, at the head of its lanes, to its end: sent and recorded, overtaken, or dead-lettered.
import type { Fault } from '../../fhir/faults/fault.ts';
import { type SendGate, SendsStopped } from '../../fhir/faults/send-gate.ts';
import type { MappedResource } from '../../fhir/mapping/mapped-resource.ts';
import type { Token } from '../../fhir/model/token.ts';
import { pause } from '../../pause.ts';
import { type Delivery, whoIs } from '../delivery/delivery.ts';
import type { Source } from '../delivery/source.ts';
import { deadEnding, deliveredEnding, type Ending, NOTHING_TO_DO, SUPERSEDED } from '../tables/ending.ts';
import { LinkInDoubt } from '../tables/links.ts';
import { lookAgainMs, type OtherShards } from '../tables/other-shards.ts';
import type { Standing } from '../tables/standing.ts';
import type { WriteContext, WriteResult } from '../writer/write-context.ts';
import type { Writer } from '../writer/writer.ts';
import { type Concluding, conclude } from './conclude.ts';
import { traceOf } from './delivery-trace.ts';
import { PlaceAtGate } from './place-at-gate.ts';
import { isExhausted, isPatientsFault, retryDelay } from './retry-policy.ts';
import { type Holding, SlotChangedHands, type SlotGuard } from './slot-guard.ts';
import { noTries, type Tries } from './tries.ts';

export interface CourierParts extends Concluding {
  readonly gate: SendGate;
  readonly guard: SlotGuard;
  readonly others: OtherShards;
  readonly writer: Writer;
  readonly signal: AbortSignal;
  readonly maxRetries: number;
  standing(delivery: Delivery): Promise<Standing>;
  /** Reads and maps the state of a parked delivery again. */
  reload(delivery: Delivery): Promise<MappedResource>;
  /** The resource of another row carries the delivery's state: has the row's own state sent again. */
  giveBack(delivery: Delivery, owner: Source): Promise<void>;
  /** Keeps attempts, next_retry_at and last_error of the outbox rows up. */
  noteFailure(delivery: Delivery, reason: string, nextRetryAt: Date): Promise<void>;
}

/** What the courier needs of the lanes that the delivery is in. */
export interface Lane {
  /** Null when nobody runs in the identifier's lane: from now on it is this delivery's. */
  claim(identifier: Token): Promise<void> | null;
  /** Waiting for a retry: keep only ids, of this delivery and of those behind it, and let others be read. */
  park(): void;
  unpark(): void;
}

/** Why the writer was kept from sending: what is true by then decides anew. */
const NOT_SENT = [SlotChangedHands, LinkInDoubt, SendsStopped];

/** A second: then it is a dead letter, which is sent again by itself when what it refers to is there. */
const MOST_LOOKS_FOR_REFERENCES = 8;
/** Some eight seconds. */
const TELL_AFTER_LOOKS = 30;
const WAITS_LONG =
  'It waits for a change that the connector of another shard has still to deliver: see whether one runs for each shard.';

/** `done: null` means that it is recorded already. */
type Step = { readonly done: Ending | null } | { readonly retryAfter: number };

export class Courier {
  readonly #parts: CourierParts;

  constructor(parts: CourierParts) {
    this.#parts = parts;
  }

  /** Resolves once the delivery is finished AND recorded in PostgreSQL. Rejects only when the connector stops, or on a bug. */
  async deliver(delivery: Delivery, lane: Lane): Promise<void> {
    const trace = traceOf(delivery);
    const progress = noTries(trace);
    try {
      for (;;) {
        const step = await this.#turn(delivery, lane, progress);
        if ('done' in step) return;
        if (step.retryAfter === 0) continue;
        lane.park();
        await pause(step.retryAfter, this.#parts.signal);
        lane.unpark();
      }
    } finally {
      trace?.end();
    }
  }

  /** One turn: the look-up, a place at the gate, the write and its record, all under one lease. */
  async #turn(delivery: Delivery, lane: Lane, progress: Tries): Promise<Step> {
    const { gate, guard, links, others } = this.#parts;
    // What is looked up is true as long as this lease is: then no other connector has had the slot.
    const lease = await guard.held();
    const mayShare = others.mayShare(delivery);
    const isNew = !progress.mustLookUp && !mayShare && guard.isNew(delivery);
    // Before the gate: there it would keep the place of somebody who could be sent.
    const standing = isNew ? 'pending' : await this.#parts.standing(delivery);
    if (standing === 'recorded') return { done: null };
    if (standing === 'waits') return this.#waits(delivery, progress);
    if (mayShare) links.forget(delivery);
    else if (others.exist && standing === 'pending' && (await this.#isOwed(delivery)))
      return this.#waits(delivery, progress);
    await gate.admit();
    const place = new PlaceAtGate(gate);
    try {
      return await guard.act(lease, async () => {
        const step: Step =
          standing === 'superseded' ? { done: SUPERSEDED } : await this.#send(delivery, lane, progress, lease, place);
        // The server is done with it; the record needs no place.
        place.release();
        if ('done' in step && step.done) await conclude(this.#parts, delivery, step.done, progress.trace);
        return step;
      });
    } catch (error) {
      if (!NOT_SENT.some((reason) => error instanceof reason)) throw error;
      progress.mustLookUp = true;
      return { retryAfter: 0 };
    } finally {
      place.release();
    }
  }

  async #send(
    delivery: Delivery,
    lane: Lane,
    progress: Tries,
    lease: Holding['lease'],
    place: PlaceAtGate,
  ): Promise<Step> {
    const { gate, guard, writer, log } = this.#parts;
    const { eventKey } = delivery;
    const started = performance.now();
    const mapped = delivery.mapped ?? (await this.#parts.reload(delivery));
    delivery.mapped = mapped;
    const context: WriteContext = {
      delivery,
      mapped,
      uncertain: progress.uncertain,
      mayWait: progress.looks < MOST_LOOKS_FOR_REFERENCES,
      mustHold: () => {
        guard.mustHold(lease);
        gate.mustBeOpen();
      },
      claim: async (identifier) => {
        const others = lane.claim(identifier);
        // Whoever is in that lane may need the very place at the gate that this one has.
        if (others) await place.without(() => others);
      },
      overtaken: async () => (await this.#parts.standing(delivery)) !== 'pending',
      onForeignEdit: () => {
        this.#parts.metrics.foreignEdits.inc();
        log.warn(
          { eventKey, txid: delivery.txid },
          'Somebody else changed the resource on the FHIR server; overwriting it with the state of the database.',
        );
      },
      giveBack: (owner) => this.#parts.giveBack(delivery, owner),
      onLoss: () =>
        log.error(
          { eventKey, txid: delivery.txid },
          'The FHIR server does not have a resource that it had: it is empty or an older copy. Each change sends its patient anew; verify --repair sends the others.',
        ),
    };
    const { trace } = progress;
    const result = await (trace
      ? trace.attempt((traceparent) => writer.write({ ...context, traceparent }))
      : writer.write(context));
    if (result.kind === 'failed') return await this.#failed(delivery, progress, result.fault, started, place);
    return this.#judge(delivery, progress, result, started);
  }

  #judge(
    delivery: Delivery,
    progress: Tries,
    result: Exclude<WriteResult, { kind: 'failed' }>,
    started: number,
  ): Step | Promise<Step> {
    const { gate, metrics } = this.#parts;
    switch (result.kind) {
      case 'written':
        gate.succeeded(whoIs(delivery), started);
        if (delivery.committedAt)
          metrics.commitToPut.observe(Math.max(0, (Date.now() - delivery.committedAt.getTime()) / 1000));
        return { done: deliveredEnding(result, delivery, this.#parts.links.peek(delivery)?.identifiers ?? null) };
      case 'nothing-to-do':
        // Nothing was written, so it says nothing about the server.
        return { done: NOTHING_TO_DO };
      case 'overtaken':
        progress.mustLookUp = true;
        return { retryAfter: 0 };
      case 'waits':
        return this.#waits(delivery, progress);
      case 'refused':
        return { done: deadEnding(delivery, result.reason, null, progress.uncertain, result.waitsFor) };
    }
  }

  /** Does a patient of another shard have to give an identifier up first? Asked before the gate, where it would keep the place of who can be sent. */
  async #isOwed(delivery: Delivery): Promise<boolean> {
    const { links, others } = this.#parts;
    delivery.mapped ??= await this.#parts.reload(delivery);
    return others.giveUp(delivery, await links.get(delivery));
  }

  /** For a connector of another shard. */
  async #waits(delivery: Delivery, progress: Tries): Promise<Step> {
    progress.mustLookUp = true;
    const retryAfter = lookAgainMs(progress.looks);
    progress.looks += 1;
    if (progress.looks === TELL_AFTER_LOOKS) {
      const { txid, eventKey } = delivery;
      this.#parts.log.warn({ txid, eventKey }, WAITS_LONG);
      await this.#parts.noteFailure(delivery, WAITS_LONG, new Date(Date.now() + retryAfter));
    }
    return { retryAfter };
  }

  /** Tells the gate before it gives the place back: a failing server gets nobody in its stead. */
  async #failed(delivery: Delivery, progress: Tries, fault: Fault, started: number, place: PlaceAtGate): Promise<Step> {
    const { gate, maxRetries } = this.#parts;
    progress.mustLookUp = true;
    progress.uncertain ||= fault.status === null || fault.status >= 500;
    const failedAt = performance.now();
    if (fault.stopsSends) gate.unreachable(fault);
    if (fault.disposition === 'hold' || fault.disposition === 'dead-letter') {
      const held = this.#isHeld(delivery, progress, fault, failedAt);
      place.release();
      if (!held) return { done: deadEnding(delivery, fault.reason, fault, progress.uncertain) };
      return this.#retry(delivery, fault, 0);
    }
    place.release();
    progress.failures += 1;
    const wait = Math.max(1, retryDelay(progress.failures, fault.retryAfterMs, Math.random()));
    if (await this.#counts(delivery, progress, fault, started, failedAt)) {
      if (delivery.attempts > 0) progress.triedMs += failedAt - started;
      delivery.attempts += 1;
      if (isExhausted(delivery.attempts, maxRetries, progress.triedMs)) {
        // A server that answers reads and takes no writes (its disk is full, say) passes every probe and fails everybody.
        if (!this.#isHeld(delivery, progress, fault, failedAt))
          return { done: deadEnding(delivery, fault.reason, fault, progress.uncertain) };
        return this.#retry(delivery, fault, 0);
      }
      progress.triedMs += wait;
    }
    // Nothing is known against this patient: it queues at the gate again, which holds until the server works.
    else if (fault.stopsSends) return this.#retry(delivery, fault, fault.retryAfterMs ?? 0);
    return this.#retry(delivery, fault, wait);
  }

  /** Is the failure this patient's? */
  async #counts(delivery: Delivery, progress: Tries, fault: Fault, started: number, failedAt: number) {
    if (fault.attempt !== 'if-server-answers') return fault.attempt === 'counts';
    const workedBefore = progress.serverWorked;
    progress.serverWorked = await this.#parts.gate.worksAfter(failedAt, whoIs(delivery));
    return isPatientsFault(performance.now() - started, workedBefore, progress.serverWorked);
  }

  /** Is it the server that fails or refuses, and not this patient? The gate then makes it wait, and tries one a second. */
  #isHeld(delivery: Delivery, progress: Tries, fault: Fault, failedAt: number): boolean {
    const held = this.#parts.gate.isServersFault(whoIs(delivery), fault, progress.refusedAt, failedAt);
    progress.refusedAt ??= performance.now();
    return held;
  }

  async #retry(delivery: Delivery, fault: Fault, retryAfter: number): Promise<Step> {
    this.#parts.metrics.retries.inc({ code: fault.code });
    await this.#parts.noteFailure(delivery, fault.reason, new Date(Date.now() + retryAfter));
    return { retryAfter };
  }
}
