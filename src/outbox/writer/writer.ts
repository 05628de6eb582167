// Writing one resource: first contact by identifier, then by id with If-Match; and what to do when the server knows better.

import type { Match } from '../../fhir/client/answer.ts';
import type { FhirClient, Sending } from '../../fhir/client/fhir-client.ts';
import { putOfId } from '../../fhir/client/put.ts';
import { type Fault, faultOf } from '../../fhir/faults/fault.ts';
import type { Token } from '../../fhir/model/token.ts';
import { kindOfTable } from '../delivery/kinds.ts';
import { missingSentence, withReferences } from '../delivery/references.ts';
import type { Source } from '../delivery/source.ts';
import type { Link, Links } from '../tables/links.ts';
import type { OtherShards } from '../tables/other-shards.ts';
import { isWhatWeSent, OwnResource } from './own-resource.ts';
import { withdrawn } from './withdrawn.ts';
import {
  gone,
  type Known,
  knownBy,
  refused,
  type StateContext,
  type WriteContext,
  type WriteResult,
  written,
} from './write-context.ts';

export type UpdateMode = 'by-id' | 'conditional';
export type DeletePolicy = 'deactivate' | 'delete';

/** A resource that is edited faster than we can read it is left to the retry policy. */
const MAX_CONFLICTS = 3;

/** It writes one delivery to the server, and says how that ended; what follows is the courier's. */
export class Writer {
  readonly #fhir: FhirClient;
  readonly #links: Links;
  readonly #own: OwnResource;
  readonly #others: OtherShards;
  readonly #update: UpdateMode;
  readonly #deletes: DeletePolicy;

  constructor(fhir: FhirClient, links: Links, others: OtherShards, update: UpdateMode, deletes: DeletePolicy) {
    this.#fhir = fhir;
    this.#links = links;
    this.#own = new OwnResource(fhir, links);
    this.#others = others;
    this.#update = update;
    this.#deletes = deletes;
  }

  async write(context: WriteContext): Promise<WriteResult> {
    const { delivery, mapped } = context;
    let link = await this.#links.get(delivery);
    // Since it was cached, another row may have taken over a deleted row's resource.
    if (link?.deleted) link = await this.#links.reload(delivery);
    if (delivery.operation === 'delete') return this.#delete(context, link);
    if (!mapped.ok) return refused(mapped.reason);
    const state = await this.#referring({ ...context, mapped });
    if ('kind' in state) return state;
    if (!link?.fhirId) return this.#firstContact(state);
    // A changed identifier would not match any more, so that update goes by id in either mode.
    if (this.#update === 'conditional' && delivery.previous === null && !link.deleted)
      return this.#putByIdentifier(state, mapped.identifier, link.fhirId);
    return this.#putKnown(state, knownBy(link, link.fhirId));
  }

  /** With the FHIR ids of what it refers to; refused as long as one of them is not there. */
  async #referring(context: StateContext): Promise<StateContext | WriteResult> {
    const { mapped } = context;
    const referring = await withReferences(mapped, async (source) => {
      const cached = this.#others.mayShare(source) ? null : await this.#links.get(source);
      // What is deleted, or not there, may have come since.
      const link = cached?.fhirId && !cached.deleted ? cached : await this.#links.reload(source);
      // A row that is deleted itself says whose it was, though that one is deleted by now.
      return link && (!link.deleted || context.delivery.operation === 'delete') ? link.fhirId : null;
    });
    if ('missing' in referring) {
      if (context.mayAwaitOtherShard && (await this.#others.hasEarlier(referring.missing, context.delivery)))
        return { kind: 'awaits-other-shard' };
      return refused(missingSentence(referring.missing), referring.missing);
    }
    return { ...context, mapped: { ...mapped, resource: referring.resource } };
  }

  /** PUT by id; If-Match makes the server refuse us when somebody else (or a lost answer of ours) was there first. */
  async #putKnown(context: StateContext, known: Known): Promise<WriteResult> {
    const { resource } = context.mapped;
    const { eventKey } = context.delivery;
    let sending = this.#sendingTo(known, context);
    let version = known.versionId;
    if (version === null && known.by !== 'search') {
      // Nothing would keep the write from overwriting whatever is there now.
      const found = await this.#own.read(context, known.id);
      if (found.kind === 'failed') return found;
      if (found.kind === 'gone') return this.#putGone(context, known, found.fault);
      if (found.kind === 'of-another') return this.#contactAgain(context, known);
      version = found.versionId;
      sending = context;
    }
    for (let conflicts = 0; ; conflicts += 1) {
      const answer = await this.#fhir.putById(resource, known.id, version, eventKey, sending);
      if (answer.ok) return written(answer, false);
      if (answer.fault.disposition === 'gone') return this.#putGone(context, known, answer.fault);
      if (answer.fault.disposition !== 'conflict' || conflicts === MAX_CONFLICTS)
        return { kind: 'failed', fault: answer.fault };
      if (await context.overtaken()) return { kind: 'overtaken' };
      const current = await this.#fhir.read(context.delivery.resourceType, known.id);
      if (!current.ok) {
        if (current.fault.disposition === 'gone') return this.#putGone(context, known, current.fault);
        return { kind: 'failed', fault: current.fault };
      }
      if (isWhatWeSent(current.resource, resource, putOfId(resource, known.id, version, eventKey))) {
        return written({ id: known.id, versionId: current.versionId }, false);
      }
      // Whose it is by now nobody here can know; if it is still ours, it has our identifier, and is found by that.
      if (known.by === 'tombstone') return this.#contactAgain(context, known);
      if (known.by === 'search') return { kind: 'failed', fault: answer.fault };
      if (version !== null && (await this.#own.isOfAnother(context, current.resource))) {
        // Somebody edited the identifiers of ours; or the server lost ours, and gave its id to somebody else.
        const before = await this.#own.read(context, known.id, version);
        if (before.kind === 'failed') return before;
        if (before.kind !== 'own') {
          await this.#doubt(context);
          return this.#contactAgain(context, known);
        }
      }
      // The database is the truth: a foreign edit is counted, told and overwritten, never silently.
      context.onForeignEdit();
      version = current.versionId;
      sending = context;
    }
  }

  /** What was not just read is true only as long as the link is. */
  #sendingTo(known: Known, context: WriteContext): Sending {
    return known.by === 'search' ? context : this.#links.sendingBy(context.delivery, known, context);
  }

  /** The resource was deleted there. Without If-Match most servers let a PUT by id bring it back; else it is a first contact again. */
  async #putGone(context: StateContext, known: Known, fault: Fault): Promise<WriteResult> {
    if (context.delivery.operation === 'delete') return gone(known);
    if (fault.status === 410) {
      const { delivery, mapped } = context;
      const answer = await this.#fhir.putById(mapped.resource, known.id, null, delivery.eventKey, context);
      if (answer.ok) return written(answer, false);
      if (answer.fault.disposition !== 'gone') return { kind: 'failed', fault: answer.fault };
    } else if (known.by === 'link' && known.versionId !== null) await this.#doubt(context);
    // The search finds what a PUT does not: asking both again at once would go on for ever.
    if (known.by === 'search') return { kind: 'failed', fault };
    return this.#contactAgain(context, known);
  }

  /** The resource that the row is linked to is not its own any more. */
  async #contactAgain(context: StateContext, known: Known): Promise<WriteResult> {
    if (context.delivery.operation === 'delete') return this.#letGo(context, known);
    if (this.#others.exist && (await this.#others.mustReleaseFirst(context.delivery, null))) {
      // Nobody is to take it for linked, and to wait for it.
      await this.#links.unlink(context.delivery, known.id);
      return { kind: 'awaits-other-shard' };
    }
    return this.#firstContact(context);
  }

  /** The row is deleted, and its resource somebody else's: a link that lived on would keep its identifiers from others. */
  async #letGo({ delivery }: WriteContext, known: Known): Promise<WriteResult> {
    await this.#links.unlink(delivery, known.id);
    return { kind: 'nothing-to-do' };
  }

  async #firstContact(context: StateContext): Promise<WriteResult> {
    const { delivery, mapped } = context;
    if (kindOfTable(delivery.table)?.hasIdentifiers) {
      // A row that was linked when it took its places is not in its identifier's lane yet.
      await context.claim(mapped.identifier);
      const holder = await this.#links.livingHolder(delivery, mapped.identifier);
      if (holder !== null)
        return refused(
          `The primary identifier belongs to the resource of another living row (id ${holder.sourceId}); sending this one would overwrite it. Correct the identifier of one of the two; if the other one has a dead letter, dlq replay both.`,
        );
    }
    const before = delivery.previous?.find((identifier) => identifier.primary);
    if (before && (before.system !== mapped.identifier.system || before.value !== mapped.identifier.value)) {
      // Never linked, yet its identifier changed: the server may know it by the old one.
      const found = await this.#own.find(delivery, before);
      if (found.kind === 'one') return this.#adopt(context, found.match);
      if (found.kind === 'failed' || found.kind === 'refused') return found;
    }
    if (context.uncertain) {
      const found = await this.#own.find(delivery, mapped.identifier);
      if (found.kind === 'one') return this.#adopt(context, found.match);
      if (found.kind === 'owned') return this.#giveBack(context, found.owner);
      if (found.kind !== 'none') return found;
    }
    return this.#putByIdentifier(context, mapped.identifier, null);
  }

  async #adopt(context: StateContext, match: Match): Promise<WriteResult> {
    const result = await this.#putKnown(context, { ...match, by: 'search' });
    return result.kind === 'written' ? { ...result, firstContact: true } : result;
  }

  /** `linked`: the resource that we expect it to be; null at a first contact. */
  async #putByIdentifier(context: StateContext, identifier: Token, linked: string | null): Promise<WriteResult> {
    const { delivery } = context;
    const answer = await this.#fhir.putByIdentifier(context.mapped.resource, identifier, delivery.eventKey, context);
    if (!answer.ok) return { kind: 'failed', fault: answer.fault };
    if (answer.status === 201) {
      // A server gives an id away a second time only if it knows nothing of the first; or its answer names another one's.
      const owner = await this.#links.livingOwner(delivery, answer.id);
      if (owner !== null) {
        const found = await this.#own.read(context, answer.id);
        if (found.kind === 'of-another') return { kind: 'failed', fault: faultOf('another-resource', answer.status) };
        if (found.kind !== 'own') return { kind: 'failed', fault: found.fault };
        await this.#links.unlink(owner, answer.id);
        await this.#doubt(context);
      }
    } else if (answer.id !== linked) {
      // Nothing but the answer tells whose resource has the identifier there.
      const owner = await this.#links.livingOwner(delivery, answer.id);
      if (owner !== null) return this.#giveBack(context, owner);
    }
    return written(answer, linked === null);
  }

  /** Somebody gave our identifier to the resource of another living row, and so our state went (or may have gone) there. */
  async #giveBack(context: StateContext, owner: Source): Promise<WriteResult> {
    await context.giveBack(owner);
    return refused(
      `The FHIR server had the primary identifier on the resource of another living row (id ${owner.sourceId}), where somebody else put it. That resource gets its own row's state back; check it there, then dlq replay this one.`,
    );
  }

  /** The server is empty, or an older copy of itself: it may give any id that is linked to somebody else. */
  async #doubt(context: StateContext): Promise<void> {
    context.onLoss();
    await this.#links.doubtAll();
  }

  async #delete(context: WriteContext, link: Link | null): Promise<WriteResult> {
    const { delivery, mapped } = context;
    let known: Known | null = link?.fhirId ? knownBy(link, link.fhirId) : null;
    if (!known) {
      // Without an identifier it never got there.
      if (!mapped.identifier) return { kind: 'nothing-to-do' };
      const found = await this.#own.find(delivery, mapped.identifier);
      if (found.kind === 'none' || found.kind === 'owned') return { kind: 'nothing-to-do' };
      if (found.kind !== 'one') return found;
      known = { ...found.match, by: 'search' };
    }
    if (this.#deletes === 'delete') {
      if (known.by === 'link' && known.versionId === null) {
        const found = await this.#own.read(context, known.id);
        if (found.kind === 'failed') return found;
        if (found.kind === 'of-another') return this.#letGo(context, known);
      }
      const { resourceType, eventKey } = delivery;
      const answer = await this.#fhir.deleteById(resourceType, known.id, eventKey, this.#sendingTo(known, context));
      if (!answer.ok) return { kind: 'failed', fault: answer.fault };
      return { ...gone(known), firstContact: !link?.fhirId };
    }
    const referring = mapped.ok ? await this.#referring({ ...context, mapped }) : null;
    // What it was to refer to last may never have got there.
    const state = referring && 'mapped' in referring ? referring : await withdrawn(this.#fhir, context, known);
    if ('kind' in state) return state;
    const result = await this.#putKnown(state, known);
    return result.kind === 'written' ? { ...result, firstContact: !link?.fhirId } : result;
  }
}
