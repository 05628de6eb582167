// The plain FHIR client: each call is sent at once, as a request of its own. It retries nothing.

import { type Failed, type Fault, faultOf } from '../faults/fault.ts';
import type { Operation } from '../faults/fault-table.ts';
import type { HttpAnswer } from '../http/dispatch.ts';
import { couldMatch } from '../model/identifiers.ts';
import type { Json } from '../model/json.ts';
import type { Resource } from '../model/resource-types.ts';
import { type Token, tokenParameter } from '../model/token.ts';
import {
  entriesOf,
  isFhirAnswer,
  jsonOf,
  linkOf,
  type Match,
  matchOf,
  resourceOf,
  versionOf,
  writtenTo,
} from './answer.ts';
import { type CapabilitiesAnswer, readCapabilities } from './capabilities.ts';
import type {
  CountAnswer,
  FhirClient,
  Observe,
  PageAnswer,
  ReadAnswer,
  SearchAnswer,
  Sending,
  TransactionAnswer,
  WriteAnswer,
} from './fhir-client.ts';
import { judge, noResource } from './judge.ts';
import { type Put, putOfId, putOfIdentifier } from './put.ts';
import { requestId } from './request-id.ts';
import { entriesWritten, requestIdOf, transactionOf } from './transaction-bundle.ts';
import type { HttpRequest, Transport } from './transport.ts';

// Beyond what was sent: a server that does not honour return=minimal gives that back, with its own additions.
const WRITE_BYTES = 1024 * 1024;
// A patient may have large texts, and HAPI's CapabilityStatement alone has 1.5 MB.
const READ_BYTES = 16 * 1024 * 1024;
// HAPI answers a search from one of the last minute otherwise.
const UNCACHED = { 'cache-control': 'no-cache' };
/** Resources a page; the server may give fewer. */
const PAGE = 500;

export class PlainFhirClient implements FhirClient {
  readonly #transport: Transport;
  readonly #baseUrl: string;
  readonly #observe: Observe;
  /**
   * What a write's answer is to hold. Some servers name no version in a minimal one (Firely Server before 5.5, see
   * docs/fhir-servers.md), and without a version the next write would go without If-Match: such a server is asked for the
   * whole resource from then on.
   */
  #preferred: 'return=minimal' | 'return=representation' = 'return=minimal';

  constructor(transport: Transport, baseUrl: string, observe: Observe) {
    this.#transport = transport;
    this.#baseUrl = baseUrl.replace(/\/+$/, '');
    this.#observe = observe;
  }

  async putByIdentifier(
    resource: Resource,
    identifier: Token,
    eventKey: string,
    sending?: Sending,
  ): Promise<WriteAnswer> {
    return await this.put(putOfIdentifier(resource, identifier, eventKey), sending);
  }

  async putById(
    resource: Resource,
    id: string,
    versionId: string | null,
    eventKey: string,
    sending?: Sending,
  ): Promise<WriteAnswer> {
    return await this.put(putOfId(resource, id, versionId, eventKey), sending);
  }

  /** As `putByIdentifier` and `putById`, for who has made the PUT. */
  put(put: Put, sending?: Sending): Promise<WriteAnswer> {
    return 'id' in put.by
      ? this.#putById(put, put.by.id, sending)
      : this.#putByIdentifier(put, put.by.identifier, sending);
  }

  async #putByIdentifier(put: Put, identifier: Token, sending: Sending | undefined): Promise<WriteAnswer> {
    const { type } = put;
    const sent = await this.#call('conditional-put', this.#requestOf(put, sending));
    if (!sent.ok) return sent.fault.code === 'several-matches' ? await this.#several(type, identifier, sent) : sent;
    const { answer } = sent;
    const sentBack = resourceOf(answer, type);
    // What comes back with other identifiers is another patient's: its id must not become this one's.
    if (sentBack !== null && !couldMatch(sentBack, identifier))
      return { ok: false, fault: faultOf('another-resource', answer.status) };
    const named = writtenTo(answer, type);
    this.#wantVersion(versionOf(answer, named));
    // A 2xx without a word of where: the search tells, and whether this is a FHIR server at all.
    const written = named ?? (await this.#only(type, identifier));
    if (written === null) return { ok: false, fault: faultOf('not-fhir', answer.status) };
    if ('fault' in written) return written;
    return { ok: true, ...written, status: answer.status };
  }

  async #putById(put: Put, id: string, sending: Sending | undefined): Promise<WriteAnswer> {
    const { type } = put;
    const sent = await this.#call('put-by-id', this.#requestOf(put, sending));
    if (!sent.ok) return sent;
    const { answer } = sent;
    const written = writtenTo(answer, type);
    if (written === null && !isFhirAnswer(answer)) return { ok: false, fault: noResource(answer) };
    // The version of another resource is none of this one's; without one it is looked up before the next write.
    const version = written === null || written.id === id ? versionOf(answer, written) : null;
    this.#wantVersion(version);
    return { ok: true, id, versionId: version, status: answer.status };
  }

  /** All of them or none, in one request. */
  async transaction(puts: readonly Put[], sending: Sending | undefined): Promise<TransactionAnswer> {
    const body = transactionOf(puts, this.#baseUrl);
    // What was created shows by its identifier whose it is.
    const prefer = puts.every(({ by }) => 'id' in by) ? this.#preferred : 'return=representation';
    const headers = { prefer, 'x-request-id': requestIdOf(puts) };
    const request = this.#write({ method: 'POST', path: '', body, headers }, sending);
    const sent = await this.#call('transaction', request, puts.length);
    const unreadable = { ok: false, fault: faultOf('bundle-unreadable') } as const;
    if (!sent.ok) return sent.fault.code === 'not-fhir' ? unreadable : sent;
    const { answer } = sent;
    if ('missing' in answer.body && answer.body.missing !== 'answer-too-large')
      return { ok: false, fault: faultOf(answer.body.missing) };
    const written = entriesWritten(jsonOf(answer), puts);
    if (written === null) return unreadable;
    for (const { versionId } of written) this.#wantVersion(versionId);
    return { ok: true, written };
  }

  async deleteById(type: string, id: string, eventKey: string, sending?: Sending): Promise<WriteAnswer> {
    const sent = await this.#call('delete-by-id', {
      method: 'DELETE',
      path: `${type}/${encodeURIComponent(id)}`,
      headers: { 'x-request-id': requestId(eventKey, ''), ...traceOf(sending) },
      maxBytes: WRITE_BYTES,
      mayBeSent: sending?.mayBeSent,
    });
    if (!sent.ok) return sent;
    if (!isFhirAnswer(sent.answer)) return { ok: false, fault: noResource(sent.answer) };
    return {
      ok: true,
      id,
      versionId: versionOf(sent.answer, writtenTo(sent.answer, type)),
      status: sent.answer.status,
    };
  }

  async search(type: string, identifier: Token): Promise<SearchAnswer> {
    const found = await this.#find({
      path: `${type}?identifier=${tokenParameter(identifier)}&_count=2&_elements=id,meta,identifier`,
      // Without it a server may ignore a parameter that it does not know: https://hl7.org/fhir/R4/search.html#errors
      headers: { prefer: 'handling=strict' },
    });
    if (!found.ok) return found;
    const resources = entriesOf(found.bundle, type);
    if (resources.some((resource) => !couldMatch(resource, identifier)))
      return { ok: false, fault: faultOf('search-ignored', found.status) };
    return { ok: true, matches: resources.map((resource) => matchOf(resource)).filter((match) => match !== null) };
  }

  async read(type: string, id: string, versionId?: string): Promise<ReadAnswer> {
    const version = versionId === undefined ? '' : `/_history/${encodeURIComponent(versionId)}`;
    const path = `${type}/${encodeURIComponent(id)}${version}`;
    const sent = await this.#call('read', { method: 'GET', path, maxBytes: READ_BYTES });
    if (!sent.ok) return sent;
    const resource = resourceOf(sent.answer, type);
    // Of another one, perhaps out of a cache on the way, it must not be taken for this one.
    const isOther = resource?.id !== undefined && resource.id !== id;
    if (resource === null || isOther) return { ok: false, fault: noResource(sent.answer) };
    return { ok: true, resource, versionId: matchOf(resource, sent.answer)?.versionId ?? null };
  }

  async count(type: string): Promise<CountAnswer> {
    const found = await this.#find({ path: `${type}?_summary=count`, headers: UNCACHED, maxBytes: WRITE_BYTES });
    if (!found.ok) return found;
    const { total } = found.bundle;
    // https://hl7.org/fhir/R4/datatypes.html#unsignedInt
    return { ok: true, total: typeof total === 'number' && Number.isSafeInteger(total) && total >= 0 ? total : null };
  }

  async list(
    type: string,
    system: string | null,
    elements: readonly string[],
    next: string | null,
  ): Promise<PageAnswer> {
    const filter = system === null ? '' : `identifier=${tokenParameter({ system, value: '' })}&`;
    const path = next ?? `${type}?${filter}_elements=${elements.join(',')}&_count=${PAGE}`;
    const found = await this.#find({ path, headers: UNCACHED });
    if (!found.ok) return found;
    const link = linkOf(found.bundle, 'next');
    const following = link === null ? null : this.#transport.pathOf(link);
    // A page that follows and cannot be asked for is no end of the list.
    if (link !== null && following === null) return { ok: false, fault: faultOf('not-fhir', found.status) };
    return { ok: true, resources: entriesOf(found.bundle, type), next: following };
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
  async #only(type: string, identifier: Token): Promise<Match | Failed | null> {
    const found = await this.search(type, identifier);
    if (!found.ok) return found;
    if (found.matches.length > 1) return { ok: false, fault: faultOf('several-found') };
    return found.matches[0] ?? null;
  }

  /**
   * A 412 to a PUT by identifier, looked into: several matches never pass by themselves, but servers answer so too where
   * two writes met (Aidbox, https://github.com/HealthSamurai/aidbox-docs/blob/main/docs/api/rest-api/crud/update.md ).
   */
  async #several(type: string, identifier: Token, refused: Failed): Promise<WriteAnswer> {
    const found = await this.search(type, identifier);
    if (!found.ok) return found;
    return found.matches.length > 1 ? refused : { ok: false, fault: faultOf('not-several', refused.fault.status) };
  }

  /** What was searched for, as the Bundle of what was found. */
  async #find(
    request: Pick<HttpRequest, 'path' | 'headers'> & { readonly maxBytes?: number },
  ): Promise<{ ok: true; bundle: Json; status: number } | Failed> {
    const sent = await this.#call('search', { method: 'GET', maxBytes: READ_BYTES, ...request });
    if (!sent.ok) return sent;
    const { answer } = sent;
    const bundle = resourceOf(answer, 'Bundle');
    if (bundle === null) return { ok: false, fault: noResource(answer) };
    return { ok: true, bundle, status: answer.status };
  }

  #wantVersion(versionId: string | null): void {
    if (versionId === null) this.#preferred = 'return=representation';
  }

  #requestOf({ path, body, requestId, ifMatch }: Put, sending: Sending | undefined): HttpRequest {
    const headers = { 'x-request-id': requestId, ...(ifMatch !== null && { 'if-match': ifMatch }) };
    return this.#write({ method: 'PUT', path, body, headers }, sending);
  }

  #write(request: Pick<HttpRequest, 'method' | 'path' | 'headers'> & { body: string }, sending?: Sending): HttpRequest {
    const { body, headers } = request;
    const own = { 'content-type': 'application/fhir+json', prefer: this.#preferred };
    return {
      ...request,
      headers: { ...own, ...headers, ...traceOf(sending) },
      // In UTF-8 a character may take three bytes and more, and a server may indent.
      maxBytes: WRITE_BYTES + 4 * body.length,
      mayBeSent: sending?.mayBeSent,
    };
  }

  async #call(
    operation: Operation,
    request: HttpRequest,
    puts?: number,
  ): Promise<{ ok: true; answer: HttpAnswer } | Failed> {
    const startedAt = performance.now();
    const exchange = await this.#transport.send(request);
    const result = exchange.ok
      ? judge(operation, exchange.answer)
      : { ok: false as const, fault: faultOf(exchange.cause, null, exchange.detail) };
    const seconds = (performance.now() - startedAt) / 1000;
    const outcome = result.ok ? 'ok' : result.fault.code;
    this.#observe({ method: request.method, outcome, seconds, ...(puts !== undefined && { puts }) });
    return result;
  }
}

function traceOf(sending: Sending | undefined): { traceparent?: string } {
  return sending?.traceparent === undefined ? {} : { traceparent: sending.traceparent };
}
