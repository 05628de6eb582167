// One row's verdict: the resource that it makes now, against the one that the server has under the linked id.
import type { Profile } from '../fhir/mapping/mapped-resource.ts';
import { differences } from '../fhir/model/differences.ts';
import { toldId } from '../fhir/model/told-id.ts';
import type { DriftKind } from '../metrics/metrics.ts';
import { isWithdrawn, type ResourceKind } from '../outbox/delivery/kinds.ts';
import { missingSentence, withReferences } from '../outbox/delivery/references.ts';
import type { Source } from '../outbox/delivery/source.ts';
import type { Reading } from './resource-reader.ts';
import type { RowState } from './row-states.ts';

export type Verdict =
  | { readonly kind: 'same' }
  /** A change is under way: nothing can be said yet. */
  | { readonly kind: 'on-its-way' }
  /** Known, and a person's to decide. */
  | { readonly kind: 'dead-lettered' }
  | { readonly kind: 'unreadable'; readonly code: string }
  | Drift;

export interface Drift {
  readonly kind: 'drift';
  readonly drift: DriftKind;
  readonly fhirId: string | null;
  /** The elements that differ, as name.family: never their values. */
  readonly fields: readonly string[];
  /** Why the row cannot be sent at all; names the column, never its content. */
  readonly reason: string | null;
}

/** `read` is asked only where the server has to be; `fhirIdOf` tells the resources that others refer to. */
export async function judge(
  source: RowState,
  kind: ResourceKind,
  profile: Profile,
  fhirIdOf: (row: Source) => string | null,
  read: (fhirId: string) => Promise<Reading>,
): Promise<Verdict> {
  const { fhirId, deleted } = source;
  if (source.onItsWay) return { kind: 'on-its-way' };
  if (source.deadLettered) return { kind: 'dead-lettered' };
  const drift = (what: DriftKind, fields: readonly string[] = [], reason: string | null = null): Drift => ({
    kind: 'drift',
    drift: what,
    fhirId: toldId(fhirId, source.payload),
    fields,
    reason,
  });
  if (source.payload === null) {
    if (fhirId === null) return { kind: 'same' };
    if (!deleted) return drift('not-deleted');
    const found = await read(fhirId);
    if (found.kind === 'unreadable') return found;
    // The connector's own delete leaves it withdrawn, or gone.
    return found.kind === 'found' && !isWithdrawn(found.resource, kind) ? drift('reactivated') : { kind: 'same' };
  }
  const mapped = kind.map(source.payload, profile, false);
  const referring = mapped.ok ? await withReferences(mapped, fhirIdOf) : { reason: mapped.reason };
  const reason =
    'reason' in referring ? referring.reason : 'missing' in referring ? missingSentence(referring.missing) : null;
  if (fhirId === null) return drift('never-sent', [], reason);
  if (!('resource' in referring)) return drift('differs', [], reason);
  const found = await read(fhirId);
  if (found.kind === 'unreadable') return found;
  if (found.kind === 'gone') return drift('missing');
  const fields = differences(referring.resource, found.resource);
  return fields.length === 0 ? { kind: 'same' } : drift('differs', fields);
}
