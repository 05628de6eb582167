// A transaction Bundle of PUTs: how it is written, and what its answer says of each of them.
// https://hl7.org/fhir/R4/http.html#transaction

import { createHash } from 'node:crypto';
import { hasIdentifier } from '../model/identifiers.ts';
import { isObject, type Json } from '../model/json.ts';
import { locationOf, type Match, matchOf, versionInEtag } from './answer.ts';
import type { Put } from './put.ts';
import { requestId } from './request-id.ts';

/** One request has one id, so HAPI's meta.source names the Bundle: whether a resource is ours its body has to tell. */
export function requestIdOf(puts: readonly Put[]): string {
  return requestId(puts.map((put) => put.requestId).join(' '), '');
}

/** The same PUTs give the same bytes. `baseUrl` is the server's, without a slash at its end. */
export function transactionOf(puts: readonly Put[], baseUrl: string): string {
  const entries = puts.map((put) => {
    const fullUrl = JSON.stringify('id' in put.by ? `${baseUrl}/${put.path}` : placeholderOf(put));
    const request = { method: 'PUT', url: put.path, ...(put.ifMatch !== null && { ifMatch: put.ifMatch }) };
    return `{"fullUrl":${fullUrl},"resource":${put.body},"request":${JSON.stringify(request)}}`;
  });
  return `{"resourceType":"Bundle","type":"transaction","entry":[${entries.join(',')}]}`;
}

/**
 * What stands for the URL of a resource that may be new. The server puts the URL in its place wherever it stands in a resource
 * of the Bundle, so it must stand in none: a hash of the write itself, which no patient's data can hold. (HAPI looks for it in
 * all of them, which takes time: who has a URL has none.)
 */
function placeholderOf({ requestId, path, body }: Put): string {
  const hash = createHash('sha256').update(requestId).update(path).update(body).digest('hex');
  return `urn:uuid:${[hash.slice(0, 8), hash.slice(8, 12), `4${hash.slice(13, 16)}`, `8${hash.slice(17, 20)}`, hash.slice(20, 32)].join('-')}`;
}

export interface WrittenEntry extends Match {
  readonly status: number;
  /** The answer proves whose resource it is: by the id that was asked for, or by the identifier that came back. */
  readonly proven: boolean;
}

/**
 * What became of each PUT, in their order; null when the answer does not say it of every one beyond doubt, and so of none.
 *
 * The order of the entries is the specification's promise (https://hl7.org/fhir/R4/http.html#transaction-response ), and
 * nothing else tells which is whose. So whatever can be checked is: as many as were sent, each a success, an id that
 * was asked for, an identifier that comes back. Two entries of one resource are two patients in it: on HAPI a PUT by id
 * and one by identifier that meet there both answer 200, with one version that holds the last one's body.
 */
export function entriesWritten(bundle: Json | null, puts: readonly Put[]): WrittenEntry[] | null {
  if (bundle?.resourceType !== 'Bundle' || bundle.type !== 'transaction-response') return null;
  const { entry: entries } = bundle;
  if (!Array.isArray(entries) || entries.length !== puts.length) return null;
  const written = puts.map((put, at) => entryWritten(entries[at], put)).filter((entry) => entry !== null);
  // Some servers number each type for itself.
  return new Set(written.map(({ id }, at) => `${puts[at]?.type}/${id}`)).size === puts.length ? written : null;
}

function entryWritten(entry: unknown, { type, by }: Put): WrittenEntry | null {
  if (!isObject(entry) || !isObject(entry.response)) return null;
  const { status, location, etag } = entry.response;
  // Some servers have a number there.
  const text = typeof status === 'string' || typeof status === 'number' ? String(status) : '';
  const code = Number(/^20[01]\b/.exec(text)?.[0]);
  if (Number.isNaN(code)) return null;
  const named = typeof location === 'string' ? locationOf(location, type) : null;
  const resource = isObject(entry.resource) && entry.resource.resourceType === type ? entry.resource : null;
  const inBody = resource && matchOf(resource);
  const id = named?.id ?? inBody?.id;
  if (id === undefined || (inBody !== null && inBody.id !== id)) return null;
  const versionId = named?.versionId ?? inBody?.versionId ?? (typeof etag === 'string' ? versionInEtag(etag) : null);
  if ('id' in by) return id === by.id ? { id, versionId, status: code, proven: true } : null;
  const proven = resource !== null;
  if (proven && !hasIdentifier(resource, by.identifier)) return null;
  return { id, versionId, status: code, proven };
}
