// Whether a resource is still our patient's: a server that has lost what it had gives the ids away again, to others.

import type { FhirClient } from '../../fhir/client/create-client.ts';
import type { Fault } from '../../fhir/faults/fault.ts';
import type { MappedResource } from '../../fhir/mapping/mapped-resource.ts';
import { haveOneInCommon, identifiersIn } from '../../fhir/model/identifiers.ts';
import type { Json } from '../../fhir/model/json.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { Links } from '../tables/links.ts';

export type OwnRead =
  | { readonly kind: 'own'; readonly versionId: string | null }
  | { readonly kind: 'of-another' }
  | { readonly kind: 'gone'; readonly fault: Fault }
  | { readonly kind: 'failed'; readonly fault: Fault };

/** Reads a resource as it is, or as it was in a version. */
export async function readOwn(
  fhir: FhirClient,
  links: Links,
  delivery: Delivery,
  mapped: MappedResource,
  id: string,
  versionId?: string,
): Promise<OwnRead> {
  const found = await fhir.read(delivery.resourceType, id, versionId);
  if (!found.ok) return { kind: found.fault.disposition === 'gone' ? 'gone' : 'failed', fault: found.fault };
  if (await isOfAnother(links, delivery, mapped, found.resource)) return { kind: 'of-another' };
  return { kind: 'own', versionId: found.versionId };
}

/** Does it have identifiers, and none that this patient has, had before this change, or was delivered with? */
export async function isOfAnother(
  links: Links,
  delivery: Delivery,
  mapped: MappedResource,
  resource: Json,
): Promise<boolean> {
  const theirs = identifiersIn(resource);
  if (theirs.length === 0) return false;
  const known = mapped.ok ? mapped.identifiers : mapped.identifier ? [mapped.identifier] : [];
  const ours = [...known, ...(delivery.previous ?? [])];
  if (haveOneInCommon(theirs, ours)) return false;
  return !haveOneInCommon(theirs, await links.identifiersOf(delivery));
}
