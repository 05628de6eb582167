// What a resource refers to, by the FHIR ids that the links know.
import type { MappedResource } from '../../fhir/mapping/mapped-resource.ts';
import type { Resource } from '../../fhir/model/resource-types.ts';
import type { Delivery } from './delivery.ts';
import { kindOfTable } from './kinds.ts';
import type { Source } from './source.ts';

type Mapped = Extract<MappedResource, { ok: true }>;

/** The rows whose resources it refers to; none where its state was not read yet. */
export function referencesOf({ mapped }: Pick<Delivery, 'mapped'>): Source[] {
  return mapped?.ok ? mapped.references.map(({ table, id }) => ({ table, sourceId: id })) : [];
}

/** The resource with its references; or the first row that has no resource on the FHIR server yet. */
export async function withReferences(
  { resource, references }: Mapped,
  fhirIdOf: (source: Source) => Promise<string | null> | string | null,
): Promise<{ readonly resource: Resource } | { readonly missing: Source }> {
  const elements: Record<string, { reference: string }> = {};
  for (const { element, table, id } of references) {
    const source = { table, sourceId: id };
    const fhirId = await fhirIdOf(source);
    if (fhirId === null) return { missing: source };
    elements[element] = { reference: `${kindOfTable(table)?.type}/${fhirId}` };
  }
  return { resource: references.length === 0 ? resource : ({ ...resource, ...elements } as Resource) };
}

/** Why it is not sent, in one sentence for whoever reads dead letters. */
export function missingSentence({ table, sourceId }: Source): string {
  return `It refers to row ${sourceId} of ${table}, which is not on the FHIR server: a dead letter says why, or the row was there before the triggers, and backfill sends it. This one follows by itself.`;
}
