// The FHIR client: what the connector asks of the server, each call one answer or one Fault. It retries nothing.

import type { Json, Match } from './answer.ts';
import { entriesOf, isFhirAnswer, jsonOf, linkOf, matchOf, resourceOf, versionOf, writtenTo } from './answer.ts';
import type { HttpAnswer } from './answer-collector.ts';
import type { CapabilitiesAnswer } from './capabilities.ts';
import { readCapabilities } from './capabilities.ts';
import type { Fault, Operation } from './fault.ts';
import { faultOf } from './fault.ts';
import { couldMatch, hasIdentifier } from './identity.ts';
import { judge, noResource } from './judge.ts';
import type { Resource } from './resources.ts';
import type { Token } from './token.ts';
import { tokenParameter } from './token.ts';
import type { HttpRequest } from './transport.ts';
import { Transport } from './transport.ts';

export type { Match } from './answer.ts';

export interface FhirClientConfig {
  baseUrl: string;
  /** Connections, each with one request at a time. */
  concurrency: number;
  /** For each request as a whole. */
  timeoutMs: number;
  userAgent: string;
  /** The Authorization header, asked for with each request. */
  authorization?: () => Promise<string | undefined>;
}

export type WriteAnswer =
  | { ok: true; id: string; versionId: string | null; status: number }
  | { ok: false; fault: Fault };
/** `id` is null when there was nothing to delete. */
type DeleteAnswer =
  | { ok: true; id: string | null; versionId: string | null; status: number }
  | { ok: false; fault: Fault };
type SearchAnswer = { ok: true; matches: Match[] } | { ok: false; fault: Fault };
type ReadAnswer = { ok: true; resource: Json; versionId: string | null } | { ok: false; fault: Fault };
/** `total` is null when the server does not count. */
type CountAnswer = { ok: true; total: number | null } | { ok: false; fault: Fault };
/** `next` is what the next page is asked for with; null after the last. */
type PageAnswer = { ok: true; resources: Json[]; next: string | null } | { ok: false; fault: Fault };

/** Told of each request: its method, 'ok' or the fault's code, and how long it took. */
export type Observe = (call: { method: string; outcome: string; seconds: number }) => void;

export interface FhirClient {
  /** `PUT [type]?identifier=…`: creates or updates the one resource with this identifier, which the body must have. */
  putByIdentifier(resource: Resource, identifier: Token, requestId: string): Promise<WriteAnswer>;
  /** `PUT [type]/[id]`, with If-Match when a version is given. */
  putById(resource: Resource, id: string, versionId: string | null, requestId: string): Promise<WriteAnswer>;
  /** `DELETE [type]/[id]`; that it is already gone is a success. */
  deleteById(type: string, id: string, requestId: string): Promise<WriteAnswer>;
  /**
   * Deletes the one resource with this identifier: a search, then a delete by id. A conditional DELETE would on some
   * servers delete several, and where the parameter is ignored, all.
   */
  deleteByIdentifier(type: string, identifier: Token, requestId: string): Promise<DeleteAnswer>;
  /** The resources with this identifier, at most two: more is of no interest. */
  search(type: string, identifier: Token): Promise<SearchAnswer>;
  /** `GET [type]/[id]`, or as it was in a version: `GET [type]/[id]/_history/[version]`. */
  read(type: string, id: string, versionId?: string): Promise<ReadAnswer>;
  /** How many resources there are. */
  count(type: string): Promise<CountAnswer>;
  /** A page of all resources, with these elements at least; `next` as the page before gave it, null for the first. */
  list(type: string, elements: readonly string[], next: string | null): Promise<PageAnswer>;
  /** A read that needs the server's database (HAPI answers /metadata without it): null when it works. */
  probe(): Promise<Fault | null>;
  /** What the server can do, or why it is none that the connector can work with. */
  capabilities(): Promise<CapabilitiesAnswer>;
  close(): Promise<void>;
}

// Beyond what was sent: a server that does not honour return=minimal gives that back, with its own additions.
const WRITE_BYTES = 1024 * 1024;
// A patient may have large texts, and HAPI's CapabilityStatement alone has 1.5 MB.
const READ_BYTES = 16 * 1024 * 1024;
// HAPI answers a search from one of the last minute otherwise.
const UNCACHED = { 'cache-control': 'no-cache' };
/** Resources a page; the server may give fewer. */
const PAGE = 500;

/** A client for one server. Nothing is sent before the first call. */
export function createFhirClient(config: FhirClientConfig, observe: Observe): FhirClient {
  const { concurrency: connections, ...rest } = config;
  return new UndiciFhirClient(new Transport({ ...rest, connections }), observe);
}

class UndiciFhirClient implements FhirClient {
  readonly #transport: Transport;
  readonly #observe: Observe;
  /**
   * What a write's answer is to hold. Some servers name no version in a minimal one (Firely Server before 5.5, see
   * docs/fhir-servers.md), and without a version the next write would go without If-Match: such a server is asked for the
   * whole resource from then on.
   */
  #preferred: 'return=minimal' | 'return=representation' = 'return=minimal';

  constructor(transport: Transport, observe: Observe) {
    this.#transport = transport;
    this.#observe = observe;
  }

  async putByIdentifier(resource: Resource, identifier: Token, requestId: string): Promise<WriteAnswer> {
    // HAPI checks this only when it creates: on an update it would take the body of another patient.
    if (!hasIdentifier(resource, identifier)) {
      throw new TypeError('The resource does not have the identifier that it is to be written by.');
    }
    const { resourceType: type } = resource;
    const path = `${type}?identifier=${tokenParameter(identifier)}`;
    const sent = await this.#call('conditional-put', this.#put(path, JSON.stringify(resource), requestId));
    if (!sent.ok) return sent.fault.code === 'several-matches' ? await this.#several(type, identifier, sent) : sent;
    const { answer } = sent;
    this.#wantVersion(versionOf(answer, type));
    // A 2xx without a word of where: the search tells, and whether this is a FHIR server at all.
    const written = writtenTo(answer, type) ?? (await this.#only(type, identifier));
    if (written === null) return { ok: false, fault: faultOf('not-fhir', answer.status) };
    if ('fault' in written) return { ok: false, fault: written.fault };
    return { ok: true, ...written, status: answer.status };
  }

  async putById(resource: Resource, id: string, versionId: string | null, requestId: string): Promise<WriteAnswer> {
    const type = resource.resourceType;
    const path = `${type}/${encodeURIComponent(id)}`;
    const ifMatch: Record<string, string> = versionId === null ? {} : { 'if-match': `W/"${versionId}"` };
    const body = JSON.stringify({ ...resource, id });
    const sent = await this.#call('put-by-id', this.#put(path, body, requestId, ifMatch));
    if (!sent.ok) return sent;
    const { answer } = sent;
    if (writtenTo(answer, type) === null && !isFhirAnswer(answer)) {
      return { ok: false, fault: noResource(answer) };
    }
    const version = versionOf(answer, type);
    this.#wantVersion(version);
    return { ok: true, id, versionId: version, status: answer.status };
  }

  async deleteById(type: string, id: string, requestId: string): Promise<WriteAnswer> {
    const sent = await this.#call('delete-by-id', {
      method: 'DELETE',
      path: `${type}/${encodeURIComponent(id)}`,
      headers: { 'x-request-id': requestId },
      maxBytes: WRITE_BYTES,
    });
    if (!sent.ok) return sent;
    if (!isFhirAnswer(sent.answer)) return { ok: false, fault: noResource(sent.answer) };
    return { ok: true, id, versionId: versionOf(sent.answer, type), status: sent.answer.status };
  }

  async deleteByIdentifier(type: string, identifier: Token, requestId: string): Promise<DeleteAnswer> {
    const found = await this.#only(type, identifier);
    if (found === null) return { ok: true, id: null, versionId: null, status: 404 };
    if ('fault' in found) return { ok: false, fault: found.fault };
    return await this.deleteById(type, found.id, requestId);
  }

  async search(type: string, identifier: Token): Promise<SearchAnswer> {
    const sent = await this.#call('search', {
      method: 'GET',
      path: `${type}?identifier=${tokenParameter(identifier)}&_count=2&_elements=id,meta,identifier`,
      // Without it a server may ignore a parameter that it does not know: https://hl7.org/fhir/R4/search.html#errors
      headers: { prefer: 'handling=strict' },
      maxBytes: READ_BYTES,
    });
    if (!sent.ok) return sent;
    const bundle = resourceOf(sent.answer, 'Bundle');
    if (bundle === null) return { ok: false, fault: noResource(sent.answer) };
    const resources = entriesOf(bundle).filter((resource) => resource.resourceType === type);
    if (resources.some((resource) => !couldMatch(resource, identifier))) {
      return { ok: false, fault: faultOf('search-ignored', sent.answer.status) };
    }
    return { ok: true, matches: resources.map((resource) => matchOf(resource)).filter((match) => match !== null) };
  }

  async read(type: string, id: string, versionId?: string): Promise<ReadAnswer> {
    const version = versionId === undefined ? '' : `/_history/${encodeURIComponent(versionId)}`;
    const path = `${type}/${encodeURIComponent(id)}${version}`;
    const sent = await this.#call('read', { method: 'GET', path, maxBytes: READ_BYTES });
    if (!sent.ok) return sent;
    const resource = resourceOf(sent.answer, type);
    if (resource === null) return { ok: false, fault: noResource(sent.answer) };
    return { ok: true, resource, versionId: matchOf(resource, sent.answer)?.versionId ?? null };
  }

  async count(type: string): Promise<CountAnswer> {
    const path = `${type}?_summary=count`;
    const sent = await this.#call('search', { method: 'GET', path, headers: UNCACHED, maxBytes: WRITE_BYTES });
    if (!sent.ok) return sent;
    const bundle = resourceOf(sent.answer, 'Bundle');
    if (bundle === null) return { ok: false, fault: noResource(sent.answer) };
    return { ok: true, total: typeof bundle.total === 'number' ? bundle.total : null };
  }

  async list(type: string, elements: readonly string[], next: string | null): Promise<PageAnswer> {
    const path = next ?? `${type}?_elements=${elements.join(',')}&_count=${PAGE}`;
    const sent = await this.#call('search', { method: 'GET', path, headers: UNCACHED, maxBytes: READ_BYTES });
    if (!sent.ok) return sent;
    const bundle = resourceOf(sent.answer, 'Bundle');
    if (bundle === null) return { ok: false, fault: noResource(sent.answer) };
    const resources = entriesOf(bundle).filter((resource) => resource.resourceType === type);
    const link = linkOf(bundle, 'next');
    const following = link === null ? null : this.#transport.pathOf(link);
    // A page that follows and cannot be asked for is no end of the list.
    if (link !== null && following === null) return { ok: false, fault: faultOf('not-fhir', sent.answer.status) };
    return { ok: true, resources, next: following };
  }

  async probe(): Promise<Fault | null> {
    const path = 'Patient?_summary=count';
    const sent = await this.#call('probe', { method: 'GET', path, maxBytes: WRITE_BYTES, control: true });
    if (!sent.ok) return sent.fault;
    return resourceOf(sent.answer, 'Bundle') === null ? noResource(sent.answer) : null;
  }

  async capabilities(): Promise<CapabilitiesAnswer> {
    const sent = await this.#call('metadata', { method: 'GET', path: 'metadata', maxBytes: READ_BYTES, control: true });
    if (!sent.ok) return sent;
    if ('missing' in sent.answer.body) return { ok: false, fault: noResource(sent.answer) };
    return readCapabilities(jsonOf(sent.answer), sent.answer.status);
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  /** The one resource with this identifier, null for none, a fault for several. */
  async #only(type: string, identifier: Token): Promise<Match | { fault: Fault } | null> {
    const found = await this.search(type, identifier);
    if (!found.ok) return { fault: found.fault };
    return found.matches.length > 1 ? { fault: faultOf('several-found') } : (found.matches[0] ?? null);
  }

  /**
   * A 412 to a PUT by identifier, looked into: several matches never pass by themselves, but servers answer so too where
   * two writes met (Aidbox, https://github.com/HealthSamurai/aidbox-docs/blob/main/docs/api/rest-api/crud/update.md ).
   */
  async #several(type: string, identifier: Token, refused: { ok: false; fault: Fault }): Promise<WriteAnswer> {
    const found = await this.search(type, identifier);
    if (!found.ok) return found;
    return found.matches.length > 1 ? refused : { ok: false, fault: faultOf('not-several', refused.fault.status) };
  }

  #wantVersion(versionId: string | null): void {
    if (versionId === null) this.#preferred = 'return=representation';
  }

  #put(path: string, body: string, requestId: string, headers: Record<string, string> = {}): HttpRequest {
    const own = { 'content-type': 'application/fhir+json', prefer: this.#preferred, 'x-request-id': requestId };
    // In UTF-8 a character may take three bytes and more, and a server may indent.
    return { method: 'PUT', path, body, headers: { ...own, ...headers }, maxBytes: WRITE_BYTES + 4 * body.length };
  }

  async #call(
    operation: Operation,
    request: HttpRequest,
  ): Promise<{ ok: true; answer: HttpAnswer } | { ok: false; fault: Fault }> {
    const startedAt = performance.now();
    const exchange = await this.#transport.send(request);
    const result = exchange.ok
      ? judge(operation, exchange.answer)
      : { ok: false as const, fault: faultOf(exchange.cause) };
    const seconds = (performance.now() - startedAt) / 1000;
    this.#observe({ method: request.method, outcome: result.ok ? 'ok' : result.fault.code, seconds });
    return result;
  }
}
