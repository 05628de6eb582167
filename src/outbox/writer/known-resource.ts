// The resource that a write goes to, and what is known of it afterwards.
import type { Match, WriteAnswer } from '../../fhir/client/create-client.ts';
import type { Link } from '../tables/links.ts';
import type { WriteResult } from './write-context.ts';

/** A resource on the server, and how sure it is that it is this row's: only a living link keeps others from taking it. */
export type Known = Match & { readonly by: 'link' | 'tombstone' | 'search' };

export function knownBy({ versionId, deleted }: Link, id: string): Known {
  return { id, versionId, by: deleted ? 'tombstone' : 'link' };
}

/** No version to match: bringing it back is a PUT by id without If-Match. */
export function gone(known: Known): Extract<WriteResult, { kind: 'written' }> {
  return { kind: 'written', fhirId: known.id, versionId: null, firstContact: false };
}

export function written(answer: Extract<WriteAnswer, { ok: true }>, firstContact: boolean): WriteResult {
  return { kind: 'written', fhirId: answer.id, versionId: answer.versionId, firstContact };
}
