// One patient's verdict: the resource that its row makes now, against the one that the server has under the linked id.
import { differences } from '../fhir/differences.ts';
import type { Profile } from '../fhir/patient-mapper.ts';
import type { DriftKind } from '../metrics/metrics.ts';
import { kindOfType } from '../outbox/resources.ts';
import type { Reading } from './resource-reader.ts';
import type { Source } from './source.ts';

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

const patient = kindOfType('Patient');

/** `read` is asked only where the server has to be. */
export async function judge(
  source: Source,
  profile: Profile,
  read: (fhirId: string) => Promise<Reading>,
): Promise<Verdict> {
  const { fhirId, deleted } = source;
  if (source.onItsWay) return { kind: 'on-its-way' };
  if (source.deadLettered) return { kind: 'dead-lettered' };
  const drift = (kind: DriftKind, fields: readonly string[] = [], reason: string | null = null): Drift => ({
    kind: 'drift',
    drift: kind,
    fhirId,
    fields,
    reason,
  });
  if (source.payload === null) {
    if (fhirId === null) return { kind: 'same' };
    if (!deleted) return drift('not-deleted');
    const found = await read(fhirId);
    if (found.kind === 'unreadable') return found;
    // The connector's own delete leaves it inactive, or gone.
    return found.kind === 'found' && found.resource.active !== false ? drift('reactivated') : { kind: 'same' };
  }
  const mapped = patient?.map(source.payload, profile, false);
  const reason = mapped?.ok === false ? mapped.reason : null;
  if (fhirId === null) return drift('never-sent', [], reason);
  if (!mapped?.ok) return drift('differs', [], reason);
  const found = await read(fhirId);
  if (found.kind === 'unreadable') return found;
  if (found.kind === 'gone') return drift('missing');
  const fields = differences(mapped.resource, found.resource);
  return fields.length === 0 ? { kind: 'same' } : drift('differs', fields);
}
