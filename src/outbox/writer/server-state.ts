// A resource as the server has it: is it what we sent, and what of it is the server's own?

import type { Put } from '../../fhir/client/put.ts';
import { differences } from '../../fhir/model/differences.ts';
import { isObject, type Json } from '../../fhir/model/json.ts';
import type { Resource } from '../../fhir/model/resource-types.ts';

/** Profiles, security labels and tags say something of the resource, and a PUT without them may end them (on HAPI: profiles). */
export function withoutServersMeta({ meta, ...body }: Json): Json {
  const { versionId: _version, lastUpdated: _time, source: _source, ...own } = isObject(meta) ? meta : {};
  return Object.keys(own).length === 0 ? body : { ...body, meta: own };
}

/**
 * Is the current version what this delivery sent: by the request id that the server kept, or by its body apart from id and
 * meta? Of what went in a Bundle the server kept the Bundle's id, so the body alone tells. That is enough: the same body by
 * somebody else needs no other write, and a server that changes what it is given shows drift in each comparison anyway; there
 * a lost answer costs one version more.
 */
export function isOurs(current: Json, sent: Resource, { requestId }: Put): boolean {
  const meta = current.meta as { source?: unknown } | undefined;
  if (typeof meta?.source === 'string' && meta.source.endsWith(`#${requestId}`)) return true;
  return differences(sent, current).length === 0;
}
