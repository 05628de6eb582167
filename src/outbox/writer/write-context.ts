// What the writer is given and may ask, where a write goes, and how it can end.
import type { Match } from '../../fhir/client/answer.ts';
import type { Sending } from '../../fhir/client/fhir-client.ts';
import type { Fault } from '../../fhir/faults/fault.ts';
import type { MappedResource } from '../../fhir/mapping/mapped-resource.ts';
import type { Token } from '../../fhir/model/token.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { Source } from '../delivery/source.ts';
import type { Link } from '../tables/links.ts';

export type WriteResult =
  | {
      readonly kind: 'written';
      readonly fhirId: string;
      readonly versionId: string | null;
      readonly firstContact: boolean;
    }
  /** A delete of what is not there. */
  | { readonly kind: 'nothing-to-do' }
  /** It was recorded, or a newer state was, while we tried: look it up again. */
  | { readonly kind: 'overtaken' }
  /** A connector of another shard has to deliver something first. */
  | { readonly kind: 'awaits-other-shard' }
  | { readonly kind: 'failed'; readonly fault: Fault }
  /**
   * Refused here, without asking the server: it would have mixed up two rows' resources, or refer to what is not there. `waitsFor`: the
   * row whose resource that is.
   */
  | { readonly kind: 'refused'; readonly reason: string; readonly waitsFor: Source | null };

/**
 * What the writer may ask while it holds the delivery's lanes. Whatever it asks of the database, here and of the links,
 * waits through outages: what has been sent must not be sent again because of one.
 */
export interface WriteContext extends Sending {
  readonly delivery: Delivery;
  readonly mapped: MappedResource;
  /** May it wait for another shard to deliver what it refers to? False after eight looks: that may never come, and others wait behind it. */
  readonly mayAwaitOtherShard: boolean;
  /** Waits until nobody else works on the identifier, and keeps others from starting. */
  claim(identifier: Token): Promise<void>;
  /** True when the delivery was recorded or overtaken meanwhile (by a successor of ours). */
  overtaken(): Promise<boolean>;
  onForeignEdit(): void;
  /** The resource of this other living row carries our state: puts it right. */
  giveBack(owner: Source): Promise<void>;
  /** The server has lost what it had: whatever else is linked is read before it is written. */
  onLoss(): void;
}

/** A write that has something to send. */
export type StateContext = WriteContext & { readonly mapped: Extract<MappedResource, { ok: true }> };

/** A resource on the server, and how sure it is that it is this row's: only a living link keeps others from taking it. */
export type Known = Match & { readonly by: 'link' | 'tombstone' | 'search' };

type WrittenResult = Extract<WriteResult, { kind: 'written' }>;

export function knownBy({ versionId, deleted }: Link, id: string): Known {
  return { id, versionId, by: deleted ? 'tombstone' : 'link' };
}

export function written({ id, versionId }: Match, firstContact: boolean): WrittenResult {
  return { kind: 'written', fhirId: id, versionId, firstContact };
}

/** Deleted there. No version to match: bringing it back is a PUT by id without If-Match. */
export function gone({ id }: Known): WrittenResult {
  return written({ id, versionId: null }, false);
}

export function refused(reason: string, waitsFor: Source | null = null): Extract<WriteResult, { kind: 'refused' }> {
  return { kind: 'refused', reason, waitsFor };
}
