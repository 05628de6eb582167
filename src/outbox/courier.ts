// The courier takes one delivery, at the head of its lanes, to its end: sent and recorded, overtaken, or dead-lettered.
import type { Logger } from 'pino';
import type { Fault } from '../fhir/fault.ts';
import type { MappedResource } from '../fhir/mapped-resource.ts';
import { type SendGate, SendsStopped } from '../fhir/send-gate.ts';
import { sameTokens, type Token } from '../fhir/token.ts';
import { formatLsn } from '../lsn.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { pause } from '../pause.ts';
import { deadOutcome } from './dead-outcome.ts';
import { type Delivery, identifiersOf, whoIs } from './delivery.ts';
import { type DeliveryTrace, traceOf } from './delivery-trace.ts';
import { LinkInDoubt, type Links, type Source } from './links.ts';
import { PlaceAtGate } from './place-at-gate.ts';
import { noProgress, type Progress } from './progress.ts';
import type { Outcome } from './record.ts';
import type { Recorder } from './recorder.ts';
import { isExhausted, isPatientsFault, retryDelay } from './retry-policy.ts';
import { type Holding, SlotChangedHands, type SlotGuard } from './slot-guard.ts';
import type { Standing } from './standing.ts';
import type { Writer } from './write.ts';
import type { WriteContext, WriteResult } from './write-context.ts';

export interface CourierParts {
  readonly gate: SendGate;
  readonly guard: SlotGuard;
  readonly links: Links;
  readonly writer: Writer;
  readonly recorder: Recorder;
  readonly metrics: Metrics;
  readonly log: Logger;
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

/** `done: null` means that it is recorded already. */
type Step = { readonly done: Outcome | null } | { readonly retryAfter: number };

export class Courier {
  readonly #parts: CourierParts;

  constructor(parts: CourierParts) {
    this.#parts = parts;
  }

  /** Resolves once the delivery is finished AND recorded in PostgreSQL. Rejects only when the connector stops, or on a bug. */
  async deliver(delivery: Delivery, lane: Lane): Promise<void> {
    const trace = traceOf(delivery);
    const progress = noProgress(trace);
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
  async #turn(delivery: Delivery, lane: Lane, progress: Progress): Promise<Step> {
    const { gate, guard } = this.#parts;
    // What is looked up is true as long as this lease is: then no other connector has had the slot.
    const lease = await guard.held();
    const isNew = !progress.mustLookUp && guard.isNew(delivery);
    // Before the gate: there it would keep the place of somebody who could be sent.
    const standing = isNew ? 'pending' : await this.#parts.standing(delivery);
    if (standing === 'recorded') return { done: null };
    await gate.admit();
    const place = new PlaceAtGate(gate);
    try {
      return await guard.act(lease, async () => {
        const step: Step =
          standing === 'superseded'
            ? { done: { kind: 'superseded' } }
            : await this.#send(delivery, lane, progress, lease, place);
        // The server is done with it; the record needs no place.
        place.release();
        if ('done' in step && step.done) await this.#record(delivery, step.done, progress.trace);
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
    progress: Progress,
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
    progress: Progress,
    result: Exclude<WriteResult, { kind: 'failed' }>,
    started: number,
  ): Step {
    const { gate, metrics } = this.#parts;
    switch (result.kind) {
      case 'written':
        gate.succeeded(whoIs(delivery), started);
        if (delivery.committedAt)
          metrics.commitToPut.observe(Math.max(0, (Date.now() - delivery.committedAt.getTime()) / 1000));
        return { done: this.#delivered(delivery, result) };
      case 'nothing-to-do':
        // Nothing was written, so it says nothing about the server.
        return {
          done: {
            kind: 'delivered',
            fhirId: null,
            versionId: null,
            deleted: true,
            identifiers: null,
            firstContact: false,
          },
        };
      case 'overtaken':
        progress.mustLookUp = true;
        return { retryAfter: 0 };
      case 'refused':
        return { done: deadOutcome(delivery, result.reason, null, progress.uncertain, result.waitsFor) };
    }
  }

  /** Tells the gate before it gives the place back: a failing server gets nobody in its stead. */
  async #failed(
    delivery: Delivery,
    progress: Progress,
    fault: Fault,
    started: number,
    place: PlaceAtGate,
  ): Promise<Step> {
    const { gate, maxRetries } = this.#parts;
    progress.mustLookUp = true;
    progress.uncertain ||= fault.status === null || fault.status >= 500;
    const failedAt = performance.now();
    if (fault.stopsSends) gate.unreachable(fault);
    if (fault.disposition === 'hold' || fault.disposition === 'dead-letter') {
      const held = this.#isHeld(delivery, progress, fault, failedAt);
      place.release();
      if (!held) return { done: deadOutcome(delivery, fault.reason, fault, progress.uncertain) };
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
          return { done: deadOutcome(delivery, fault.reason, fault, progress.uncertain) };
        return this.#retry(delivery, fault, 0);
      }
      progress.triedMs += wait;
    }
    // Nothing is known against this patient: it queues at the gate again, which holds until the server works.
    else if (fault.stopsSends) return this.#retry(delivery, fault, fault.retryAfterMs ?? 0);
    return this.#retry(delivery, fault, wait);
  }

  /** Is the failure this patient's? */
  async #counts(delivery: Delivery, progress: Progress, fault: Fault, started: number, failedAt: number) {
    if (fault.attempt !== 'if-server-answers') return fault.attempt === 'counts';
    const workedBefore = progress.serverWorked;
    progress.serverWorked = await this.#parts.gate.worksAfter(failedAt, whoIs(delivery));
    return isPatientsFault(performance.now() - started, workedBefore, progress.serverWorked);
  }

  /** Is it the server that fails or refuses, and not this patient? The gate then makes it wait, and tries one a second. */
  #isHeld(delivery: Delivery, progress: Progress, fault: Fault, failedAt: number): boolean {
    const held = this.#parts.gate.isServersFault(whoIs(delivery), fault, progress.refusedAt, failedAt);
    progress.refusedAt ??= performance.now();
    return held;
  }

  async #retry(delivery: Delivery, fault: Fault, retryAfter: number): Promise<Step> {
    this.#parts.metrics.retries.inc({ code: fault.code });
    await this.#parts.noteFailure(delivery, fault.reason, new Date(Date.now() + retryAfter));
    return { retryAfter };
  }

  #delivered(delivery: Delivery, result: Extract<WriteResult, { kind: 'written' }>): Outcome {
    const recorded = this.#parts.links.peek(delivery)?.identifiers ?? null;
    const identifiers = identifiersOf(delivery);
    return {
      kind: 'delivered',
      fhirId: result.fhirId,
      versionId: result.versionId,
      deleted: delivery.operation === 'delete',
      // What is recorded decides, for the change that changed them may be a dead letter. But what we remember of it does
      // not have what was given to the resource by somebody else: the event that takes that away says what it had.
      identifiers:
        !delivery.previous && identifiers && recorded && sameTokens(identifiers, recorded) ? null : identifiers,
      firstContact: result.firstContact,
    };
  }

  /** Only after this has resolved may the transaction's LSN be acknowledged. */
  async #record(delivery: Delivery, ended: Outcome, trace: DeliveryTrace | null): Promise<void> {
    const { recorder, links, metrics, log } = this.#parts;
    const outcome = await recorder.record(delivery, ended);
    trace?.recorded(outcome);
    const { txid, eventKey, outboxIds, endLsn } = delivery;
    const ids = { txid, lsn: endLsn === null ? undefined : formatLsn(endLsn), eventKey, outboxIds, traceId: trace?.id };
    metrics.progressed();
    if (outcome.kind === 'superseded') {
      metrics.superseded.inc(delivery.outboxIds.length);
      log.info(ids, 'superseded');
    } else if (outcome.kind === 'dead') {
      // The record may have added identifiers to what we know of it.
      links.forget(delivery);
      metrics.failed.inc(delivery.outboxIds.length);
      log.error(
        { ...ids, status: outcome.httpStatus, attempts: outcome.attempts, reason: outcome.reason },
        'dead-lettered',
      );
    } else {
      if (outcome.fhirId) {
        links.remember(delivery, {
          fhirId: outcome.fhirId,
          versionId: outcome.versionId,
          lastRevision: delivery.revision,
          deleted: outcome.deleted,
          identifiers: identifiersOf(delivery),
        });
      }
      metrics.processed.inc(delivery.outboxIds.length);
      log.info({ ...ids, fhirId: outcome.fhirId, version: outcome.versionId }, 'delivered');
    }
  }
}
