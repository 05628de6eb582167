// What Medplum's router leaves to the server of a transaction Bundle: where each write went, and resources only where wanted.
// https://hl7.org/fhir/R4/http.html#transaction-response

import type { Bundle, BundleEntry } from '@medplum/fhirtypes';
import type { FhirWrite } from './fhir-write.ts';

/** The answer to the client; `minimal` leaves the resources out. */
export function transactionResponse({ entry = [], ...bundle }: Bundle, minimal: boolean): Bundle {
  return { ...bundle, entry: entry.map((answered) => entryOf(answered, minimal)) };
}

/** The writes of a transaction that was applied, from what was sent and what the router answered. */
export function writesOf(sent: Bundle, answered: Bundle): FhirWrite[] {
  return (sent.entry ?? []).flatMap(({ request }, at) => {
    const { resource } = answered.entry?.[at] ?? {};
    if (!request || !resource) return [];
    const versionId = resource.meta?.versionId ?? '';
    return {
      method: request.method ?? '',
      target: decodeURIComponent(request.url ?? ''),
      ifMatch: request.ifMatch ?? null,
      status: versionId === '1' ? 201 : 200,
      reference: `${resource.resourceType}/${resource.id}`,
      versionId,
    };
  });
}

function entryOf({ resource, response }: BundleEntry, minimal: boolean): BundleEntry {
  if (!resource) return response ? { response } : {};
  const { versionId, lastUpdated } = resource.meta ?? {};
  return {
    ...(!minimal && { resource }),
    response: {
      // Medplum answers 200 also where a PUT by id has created.
      status: versionId === '1' ? '201' : (response?.status ?? ''),
      location: `${resource.resourceType}/${resource.id}/_history/${versionId}`,
      etag: `W/"${versionId}"`,
      ...(lastUpdated !== undefined && { lastModified: lastUpdated }),
    },
  };
}
