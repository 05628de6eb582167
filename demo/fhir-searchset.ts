// What Medplum's repository leaves to the server of a search: _summary=count, _elements, the links.

import type { Bundle, Resource } from '@medplum/fhirtypes';

/** `search` is the query string of the request, with its question mark. */
export function asSearchset(found: Bundle, type: string, search: string, base: string): Bundle {
  const { entry = [], ...bundle } = found;
  const query = new URLSearchParams(search);
  const link = [{ relation: 'self', url: `${base}/${type}${search}` }];
  if (query.get('_summary') === 'count') return { ...bundle, link };
  const next = Number(query.get('_offset') ?? 0) + entry.length;
  if (entry.length > 0 && next < (found.total ?? 0)) {
    query.set('_offset', String(next));
    link.push({ relation: 'next', url: `${base}/${type}?${query}` });
  }
  const elements = query.get('_elements')?.split(',');
  const entries = entry.map(({ resource, ...rest }) => ({
    fullUrl: `${base}/${resource?.resourceType}/${resource?.id}`,
    ...rest,
    ...(resource && { resource: elements ? only(elements, resource) : resource }),
  }));
  return { ...bundle, link, ...(entries.length > 0 && { entry: entries }) };
}

/** https://hl7.org/fhir/R4/search.html#elements */
function only(elements: readonly string[], resource: Resource): Resource {
  const kept = ['resourceType', 'id', ...elements];
  const tag = [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ObservationValue', code: 'SUBSETTED' }];
  const some = Object.fromEntries(Object.entries(resource).filter(([name]) => kept.includes(name)));
  return { ...some, meta: { ...resource.meta, tag } } as unknown as Resource;
}
