// Reading answers: a resource's id and version from headers or body, and whether what came is FHIR at all.

import { type HttpAnswer, headerOf } from '../http/dispatch.ts';
import { isNestedTooDeeply, isObject, type Json } from '../model/json.ts';

/** A resource on the server, by its FHIR id; version null when the server keeps or names none. */
export interface Match {
  id: string;
  versionId: string | null;
}

/**
 * https://hl7.org/fhir/R4/datatypes.html#id , but for those that a path would lose: .. leads to the folder above
 * (https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4 ), and a DELETE of Patient/.. to the whole server.
 */
const ID = '(?!\\.{1,2}(?![A-Za-z0-9\\-.]))[A-Za-z0-9\\-.]{1,64}';
const WHOLE_ID = new RegExp(`^${ID}$`);
const LOCATION = new RegExp(`^(?:[^?#]*/)?([A-Za-z]+)/(${ID})(?:/_history/(${ID}))?(?:[?#]|$)`);
const ETAG = new RegExp(`^(?:W/)?"(${ID})"$`);
const ENTRY_ETAG = new RegExp(`^(?:(?:W/)?"(${ID})"|(${ID}))$`);

/** The body as a JSON object; null when there is none or it is something else. */
export function jsonOf(answer: HttpAnswer): Json | null {
  if (!('text' in answer.body) || isNestedTooDeeply(answer.body.text)) return null;
  try {
    const parsed: unknown = JSON.parse(answer.body.text);
    return isObject(parsed) ? parsed : null;
  } catch {
    return null;
  }
}

/** The body as a resource of this type; null when it is none. */
export function resourceOf(answer: HttpAnswer, type: string): Json | null {
  const json = jsonOf(answer);
  return json?.resourceType === type ? json : null;
}

/** Whether the answer can come from a FHIR server: it has no body, or one that is a resource. */
export function isFhirAnswer(answer: HttpAnswer): boolean {
  if ('text' in answer.body && answer.body.text.trim() === '') return true;
  return typeof jsonOf(answer)?.resourceType === 'string';
}

/**
 * Where a write went: Content-Location or Location, then the body; null when the answer does not say.
 * https://hl7.org/fhir/R4/http.html#create . HAPI names an update in Content-Location and only a POST in Location too.
 */
export function writtenTo(answer: HttpAnswer, type: string): Match | null {
  const named =
    locationOf(headerOf(answer, 'content-location'), type) ?? locationOf(headerOf(answer, 'location'), type);
  if (named !== null && named.versionId !== null) return named;
  const resource = resourceOf(answer, type);
  const inBody = resource === null ? null : matchOf(resource, answer);
  if (named === null || named.id === inBody?.id) return inBody;
  return { id: named.id, versionId: etagOf(answer) };
}

/** The version that the answer to a write names: where it went (`writtenTo`) and only then its ETag, for proxies change it (W/"3-gzip"). */
export function versionOf(answer: HttpAnswer, written: Match | null): string | null {
  return written?.versionId ?? etagOf(answer);
}

/** A resource's id and version; null when it has no id. */
export function matchOf(resource: Json, answer?: HttpAnswer): Match | null {
  const { id, meta } = resource;
  if (!isId(id)) return null;
  // A version goes into If-Match: what could not stand there is none.
  const versionId = isObject(meta) && isId(meta.versionId) ? meta.versionId : null;
  return { id, versionId: versionId ?? (answer === undefined ? null : etagOf(answer)) };
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && WHOLE_ID.test(value);
}

/** The resource that a location names, with the version if that is named too. */
export function locationOf(location: string | undefined, type: string): Match | null {
  if (location === undefined) return null;
  const [, named, id, versionId] = LOCATION.exec(location) ?? [];
  return id === undefined || named !== type ? null : { id, versionId: versionId ?? null };
}

/** W/"3" or "3" → 3, https://hl7.org/fhir/R4/http.html#versioning */
function etagOf(answer: HttpAnswer): string | null {
  return ETAG.exec(headerOf(answer, 'etag')?.trim() ?? '')?.[1] ?? null;
}

/** The etag of a Bundle's entry: HAPI has the bare version there. */
export function versionInEtag(etag: string): string | null {
  return ENTRY_ETAG.exec(etag.trim())?.slice(1).find(Boolean) ?? null;
}

/** The resources of this type in a Bundle. */
export function entriesOf(bundle: Json, type: string): Json[] {
  const entries = Array.isArray(bundle.entry) ? bundle.entry.filter(isObject) : [];
  const resources = entries.map((entry) => entry.resource).filter(isObject);
  return resources.filter(({ resourceType }) => resourceType === type);
}

/** https://hl7.org/fhir/R4/http.html#paging */
export function linkOf(bundle: Json, relation: string): string | null {
  const links = Array.isArray(bundle.link) ? bundle.link.filter(isObject) : [];
  const url = links.find((link) => link.relation === relation)?.url;
  return typeof url === 'string' ? url : null;
}
