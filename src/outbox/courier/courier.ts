// The courier takes one delivery, at the head of its lanes, to its end: sent and recorded, overtaken, or dead-lettered.
//
// A write may wait long before it goes to the server: in a queue, for a Bundle, through an outage. Just before the wire it is
// asked by `mayBeSent` whether it may still be sent: under the same lease, by the same link, with the gate open. If not, that
// throws, and the error passes through the writer up to #attempt, which catches it. Nothing was sent; the delivery is looked
// up in the database, which may know of a newer state by now, and then tried again.
import { SendsStopped } from '../../fhir/faults/send-gate.ts';
import type { MappedResource } from '../../fhir/mapping/mapped-resource.ts';
import { pause } from '../../pause.ts';
import { type Delivery, whoIs } from '../delivery/delivery.ts';
import type { Source } from '../delivery/source.ts';
import { deadEnding, deliveredEnding, NOTHING_TO_DO, SUPERSEDED } from '../tables/ending.ts';
import { LinkInDoubt } from '../tables/links.ts';
import type { OtherShards } from '../tables/other-shards.ts';
import type { Standing } from '../tables/standing.ts';
import type { WriteContext, WriteResult } from '../writer/write-context.ts';
import type { Writer } from '../writer/writer.ts';
import { afterFailure, type Failure, type FailureParts, tellGate } from './after-failure.ts';
import { type Concluding, conclude } from './conclude.ts';
import { traceOf } from './delivery-trace.ts';
import { PlaceAtGate } from './place-at-gate.ts';
import { lookAgainMs } from './retry-policy.ts';
import { type Holding, SlotChangedHands, type SlotGuard } from './slot-guard.ts';
import { AT_ONCE, type LaneControl, noTries, type Step, type Tries } from './tries.ts';

export interface CourierParts extends Concluding, FailureParts {
  readonly guard: SlotGuard;
  readonly others: OtherShards;
  readonly writer: Writer;
  readonly signal: AbortSignal;
  standing(delivery: Delivery): Promise<Standing>;
  /** Reads and maps the state of a parked delivery again. */
  reload(delivery: Delivery): Promise<MappedResource>;
  /** The resource of another row carries the delivery's state: has the row's own state sent again. */
  giveBack(delivery: Delivery, owner: Source): Promise<void>;
}

/** Why a write was not sent. */
const NOT_SENT = [SlotChangedHands, LinkInDoubt, SendsStopped];

/** A second: then it is a dead letter, which is sent again by itself when what it refers to is there. */
const MOST_LOOKS_FOR_REFERENCES = 8;
/** Some eight seconds. */
const TELL_AFTER_LOOKS = 30;
const WAITS_LONG =
  'It waits for a change that the connector of another shard has still to deliver: see whether one runs for each shard.';

/** How a write ended, where it was sent. */
type Sent = Exclude<WriteResult, { kind: 'failed' }> | Failure;

/** Many deliveries go through it at once. It keeps nothing: what is remembered of a delivery is in its Tries. */
export class Courier {
  readonly #parts: CourierParts;

  constructor(parts: CourierParts) {
    this.#parts = parts;
  }

  /** Resolves once the delivery is finished AND recorded in PostgreSQL. Rejects only when the connector stops, or on a bug. */
  async deliver(delivery: Delivery, lanes: LaneControl): Promise<void> {
    const trace = traceOf(delivery);
    const tries = noTries(delivery, lanes, trace);
    try {
      for (;;) {
        const step = await this.#attempt(tries);
        if ('done' in step) return;
        if (step.retryAfter === 0) continue;
        lanes.park();
        await pause(step.retryAfter, this.#parts.signal);
        lanes.unpark();
      }
    } finally {
      trace?.end();
    }
  }

  /** The look-up, a place at the gate, the write and its record, all under one lease. */
  async #attempt(tries: Tries): Promise<Step> {
    const { gate, guard, links, others } = this.#parts;
    const { delivery } = tries;
    // What is looked up is true as long as this lease is: then no other connector has had the slot.
    const lease = await guard.held();
    const mayShare = others.mayShare(delivery);
    const isNew = !tries.mustLookUp && !mayShare && guard.isNew(delivery);
    // Before the gate: there it would keep the place of somebody who could be sent.
    const standing = isNew ? 'pending' : await this.#parts.standing(delivery);
    if (standing === 'recorded') return { done: null };
    if (standing === 'awaits-other-shard') return this.#awaitOtherShard(tries);
    if (mayShare) links.forget(delivery);
    else if (others.exist && standing === 'pending' && (await this.#mustWaitForGiver(delivery)))
      return this.#awaitOtherShard(tries);
    // What has nothing to send (superseded, unreadable, not to be mapped) waits here too: in an outage no dead letter is made,
    // and after a stop nothing more is begun.
    await gate.admit();
    const place = new PlaceAtGate(gate);
    try {
      return await guard.act(lease, async () => {
        const sent = standing === 'superseded' ? null : await this.#send(tries, lease, place);
        // The server is done with it, and the gate knows how it went: a failing server gets nobody in its stead.
        place.release();
        const step = sent === null ? { done: SUPERSEDED } : await this.#stepAfter(tries, sent);
        if ('done' in step && step.done) await conclude(this.#parts, delivery, step.done, tries.trace);
        return step;
      });
    } catch (error) {
      if (!NOT_SENT.some((reason) => error instanceof reason)) throw error;
      tries.mustLookUp = true;
      return AT_ONCE;
    } finally {
      place.release();
    }
  }

  /** Resolves when the server is done with it and the gate told. */
  async #send(tries: Tries, lease: Holding['lease'], place: PlaceAtGate): Promise<Sent> {
    const { gate, guard, writer, log } = this.#parts;
    const { delivery, lanes, trace } = tries;
    const { eventKey } = delivery;
    const startedAt = performance.now();
    const mapped = delivery.mapped ?? (await this.#parts.reload(delivery));
    delivery.mapped = mapped;
    const context: WriteContext = {
      delivery,
      mapped,
      uncertain: tries.uncertain,
      mayAwaitOtherShard: tries.looks < MOST_LOOKS_FOR_REFERENCES,
      mayBeSent: () => {
        guard.mustHold(lease);
        gate.mustBeOpen();
      },
      claim: async (identifier) => {
        const others = lanes.claim(identifier);
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
    const result = await (trace
      ? trace.attempt((traceparent) => writer.write({ ...context, traceparent }))
      : writer.write(context));
    if (result.kind === 'failed') return tellGate(gate, tries, result.fault, startedAt);
    if (result.kind === 'written') gate.succeeded(whoIs(delivery), startedAt);
    return result;
  }

  #stepAfter(tries: Tries, sent: Sent): Step | Promise<Step> {
    const { links, metrics } = this.#parts;
    const { delivery } = tries;
    switch (sent.kind) {
      case 'written':
        if (delivery.committedAt)
          metrics.commitToPut.observe(Math.max(0, (Date.now() - delivery.committedAt.getTime()) / 1000));
        return { done: deliveredEnding(sent, delivery, links.peek(delivery)?.identifiers ?? null) };
      case 'nothing-to-do':
        // Nothing was written, so the gate was told nothing of the server.
        return { done: NOTHING_TO_DO };
      case 'overtaken':
        tries.mustLookUp = true;
        return AT_ONCE;
      case 'awaits-other-shard':
        return this.#awaitOtherShard(tries);
      case 'refused':
        return { done: deadEnding(delivery, sent.reason, null, tries.uncertain, sent.waitsFor) };
      case 'failed':
        return afterFailure(this.#parts, tries, sent);
    }
  }

  /** Whether a patient of another shard has to give an identifier up first. Asked before the gate: a delivery that waits takes nobody's place there. */
  async #mustWaitForGiver(delivery: Delivery): Promise<boolean> {
    const { links, others } = this.#parts;
    delivery.mapped ??= await this.#parts.reload(delivery);
    return others.mustReleaseFirst(delivery, await links.get(delivery));
  }

  /** A connector of another shard has to deliver something first: looks again in a moment, and tells when that takes long. */
  async #awaitOtherShard(tries: Tries): Promise<Step> {
    const { delivery } = tries;
    tries.mustLookUp = true;
    const retryAfter = lookAgainMs(tries.looks);
    tries.looks += 1;
    if (tries.looks === TELL_AFTER_LOOKS) {
      const { txid, eventKey } = delivery;
      this.#parts.log.warn({ txid, eventKey }, WAITS_LONG);
      await this.#parts.noteFailure(delivery, WAITS_LONG, new Date(Date.now() + retryAfter));
    }
    return { retryAfter };
  }
}
