// A FHIR server for a test that asks what stands there in the end, of resources of every type: versions, identifiers, If-Match
// and references as HAPI has them, a ledger of all writes that were applied, and faults by script for any request. Where only
// the PUTs of patients are looked at, fhir-sink.ts is simpler.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { capabilityStatement } from './capability-statement.ts';
import { header } from './header.ts';

export type Body = Record<string, unknown>;

/** A write that made a version. */
export interface Written {
  readonly id: string;
  readonly version: number;
  /** Null for a delete. */
  readonly body: Body | null;
  readonly requestId: string | null;
  /** The identifier query of a conditional PUT; null when it went by id. */
  readonly query: string | null;
  readonly ifMatch: string | null;
  /** performance.now() when it was applied. */
  readonly at: number;
}

type How = Pick<Written, 'requestId' | 'query' | 'ifMatch'>;

export interface Request {
  readonly method: string;
  /** Below the base, with its query: Patient/r1 */
  readonly path: string;
  readonly body: Body | null;
  /** What stood before the base: of /second/fhir/Patient it is second. A test tells its connectors apart by that. */
  readonly via: string;
  /** It names the version that it goes over, and so does all that came in its Bundle: applied late, it is refused. */
  readonly fenced: boolean;
}

/** What happens to a request instead of, or beside, being answered at once. */
export interface Fault {
  /** Waited for before anything else. */
  readonly delay?: Promise<unknown>;
  /** Answered with this status, and not applied. */
  readonly status?: number;
  readonly headers?: Record<string, string>;
  /** Of the OperationOutcome that goes with the status. */
  readonly diagnostics?: string;
  /** The connection breaks: before the request is applied, or after it. Silent: it stays open and nothing is ever said. */
  readonly cut?: 'before' | 'after' | 'silent-before' | 'silent-after';
}

interface BundledPut extends Request {
  readonly ifMatch: string | null;
}

interface Stored {
  readonly type: string;
  version: number;
  body: Body | null;
}

const CAPABILITIES = capabilityStatement('ledger');

export class FhirLedger {
  /** Every version that was made, in order. */
  readonly writes: Written[] = [];
  /** Asked about each request, control reads too; the first that knows a fault decides. */
  readonly faults = new Set<(request: Request) => Fault | undefined>();
  /** Transaction Bundles that were applied. */
  bundles = 0;
  /** Resources that a page of a search without criteria has at most. */
  pageSize = 100;
  readonly #stored = new Map<string, Stored>();
  /** `Patient?system|value` → ids of the resources that carry it now. */
  readonly #carriers = new Map<string, Set<string>>();
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  #port = 0;

  static async start(): Promise<FhirLedger> {
    const ledger = new FhirLedger();
    ledger.#server.keepAliveTimeout = 60_000;
    await ledger.resume();
    return ledger;
  }

  /** The one fault from now on; undefined for none. */
  set fault(ask: ((request: Request) => Fault | undefined) | undefined) {
    this.faults.clear();
    if (ask) this.faults.add(ask);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/fhir`;
  }

  get port(): number {
    return this.#port;
  }

  /** The resources that are there now, with their ids. */
  get resources(): ReadonlyMap<string, Body> {
    return new Map([...this.#stored].flatMap(([id, { body }]) => (body ? [[id, body]] : [])));
  }

  /** Breaks all connections and refuses new ones. What it stored stays. */
  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** After `stop`: listens again, on the same port. */
  async resume(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject).listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Everything is lost, and ids are given from the first one on again. */
  lose(): void {
    this.#stored.clear();
    this.#carriers.clear();
    this.writes.length = 0;
  }

  /** As somebody else would write; null deletes. Returns the new version. */
  write(id: string, body: Body | null, how: How = { requestId: null, query: null, ifMatch: null }): number {
    const stored = this.#stored.get(id) ?? { type: String(body?.resourceType ?? 'Patient'), version: 0, body: null };
    this.#index(stored.body, (carriers) => carriers.delete(id));
    this.#index(body, (carriers) => carriers.add(id));
    stored.version += 1;
    stored.body = body;
    this.#stored.set(id, stored);
    this.writes.push({ id, version: stored.version, body, ...how, at: performance.now() });
    return stored.version;
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const [, via = '', path = ''] = /^\/?(.*?)\/fhir(?:\/(.*))?$/.exec(incoming.url ?? '') ?? [];
    const body = text === '' ? null : (JSON.parse(text) as Body);
    const request: Request = {
      method: incoming.method ?? '',
      path,
      body,
      via,
      fenced: incoming.headers['if-match'] !== undefined,
    };
    // What one of its PUTs meets, the whole Bundle meets.
    const met = [request, ...putsIn(request)].flatMap((one) => [...this.faults].map((ask) => ask(one)));
    const fault = met.find((known) => known !== undefined);
    await fault?.delay;
    if (fault?.cut === 'before') return void incoming.socket.destroy();
    if (fault?.cut === 'silent-before') return;
    const answer = fault?.status
      ? outcome(fault.status, fault.diagnostics)
      : request.method === 'POST' && path === ''
        ? this.#transaction(putsIn(request), header(incoming, 'x-request-id'))
        : this.#apply(request, incoming.headers['if-match'], header(incoming, 'x-request-id'));
    if (fault?.cut === 'after') return void incoming.socket.destroy();
    if (fault?.cut === 'silent-after') return;
    response.writeHead(answer.status, {
      'content-type': 'application/fhir+json',
      ...answer.headers,
      ...fault?.headers,
    });
    response.end(answer.body === null ? undefined : JSON.stringify(answer.body));
  }

  #apply({ method, path, body }: Request, ifMatch: string | undefined, requestId: string | null): Answer {
    const url = new URL(path, 'http://ledger/');
    const how = { requestId, query: url.searchParams.get('identifier'), ifMatch: ifMatch ?? null };
    const [type, id, , version] = url.pathname.slice(1).split('/');
    // As HAPI's pages: the base with a query.
    if (type === '' && method === 'GET') return this.#page(url.searchParams);
    if (type === 'metadata') return { status: 200, headers: {}, body: CAPABILITIES };
    if (!type || !/^[A-Z]\w+$/.test(type)) return outcome(404);
    if (id === undefined) {
      // A system without a value: all that have an identifier in it.
      if (method === 'GET' && (how.query === null || how.query.endsWith('|')))
        return this.#page(url.searchParams, type);
      const found = [...(this.#carriers.get(`${type}?${how.query}`) ?? [])];
      if (method === 'GET') return this.#bundle(found);
      if (method !== 'PUT' || !body) return outcome(405);
      if (found.length > 1) return outcome(412);
      return this.#put(found[0] ?? `r${this.#stored.size + 1}`, body, how);
    }
    const stored = this.#stored.get(id);
    if (stored?.type !== type) return outcome(404);
    if (method === 'GET' && version !== undefined) return this.#version(id, Number(version));
    if (method === 'GET') return stored.body ? this.#resource(id, 200, { ...stored.body, id }) : outcome(410);
    if (ifMatch !== undefined && ifMatch !== `W/"${stored.version}"`) return outcome(409);
    if (method === 'DELETE') {
      if (this.#isReferredTo(`${type}/${id}`)) return outcome(409);
      if (stored.body) this.write(id, null, how);
      return { status: 200, headers: { etag: `W/"${stored.version}"` }, body: null };
    }
    if (!body) return outcome(400);
    return this.#put(id, body, how);
  }

  /**
   * All or none, and as HAPI does what no client should ask for: of two PUTs that meet on one resource both answer 200,
   * with one version that holds the last one's body.
   */
  #transaction(puts: readonly BundledPut[], requestId: string | null): Answer {
    const targets: { id: string; put: BundledPut; query: string | null; isNew: boolean }[] = [];
    let created = this.#stored.size;
    for (const put of puts) {
      const url = new URL(put.path, 'http://ledger/');
      const query = url.searchParams.get('identifier');
      const [type = '', byId = ''] = url.pathname.slice(1).split('/');
      const found = query === null ? [byId] : [...(this.#carriers.get(`${type}?${query}`) ?? [])];
      if (found.length > 1) return outcome(412);
      const [id] = found;
      const stored = this.#stored.get(id ?? '');
      if (query === null && !stored) return outcome(404);
      if (put.ifMatch !== null && put.ifMatch !== `W/"${stored?.version}"`) return outcome(409);
      if (this.#refersToNothing(put.body)) return outcome(400);
      if (id === undefined) created += 1;
      targets.push({ id: id ?? `r${created}`, put, query, isNew: id === undefined });
    }
    this.bundles += 1;
    const last = new Map(targets.map((target) => [target.id, target]));
    for (const { id, put, query } of last.values())
      this.#put(id, put.body ?? {}, { requestId, query, ifMatch: put.ifMatch });
    const entry = targets.map(({ id, isNew }) => ({
      resource: this.#resource(id, 200, { ...this.#stored.get(id)?.body, id }).body,
      response: {
        status: isNew ? '201 Created' : '200 OK',
        location: `${this.#stored.get(id)?.type}/${id}/_history/${this.#stored.get(id)?.version}`,
      },
    }));
    return { status: 200, headers: {}, body: { resourceType: 'Bundle', type: 'transaction-response', entry } };
  }

  #version(id: string, version: number): Answer {
    const write = this.writes.find((one) => one.id === id && one.version === version);
    if (!write) return outcome(404);
    if (!write.body) return outcome(410);
    const body = { ...write.body, id, meta: { versionId: String(version) } };
    return { status: 200, headers: { etag: `W/"${version}"` }, body };
  }

  /** As HAPI does, an unchanged body keeps its version. */
  #put(id: string, sent: Body, how: How): Answer {
    const { id: _, ...body } = sent;
    if (this.#refersToNothing(body)) return outcome(400, 'HAPI-1094: Resource not found, specified in a reference');
    const stored = this.#stored.get(id);
    const same = stored?.body && JSON.stringify(stored.body) === JSON.stringify(body);
    if (!same) this.write(id, body, how);
    return this.#resource(id, stored ? 200 : 201, null);
  }

  #resource(id: string, status: number, body: Body | null): Answer {
    const version = String(this.#stored.get(id)?.version);
    const headers = {
      etag: `W/"${version}"`,
      location: `${this.url}/${this.#stored.get(id)?.type}/${id}/_history/${version}`,
    };
    return { status, headers, body: body && { ...body, meta: { ...(body.meta as Body), versionId: version } } };
  }

  #bundle(ids: readonly string[]): Answer {
    const entry = ids.map((id) => ({
      resource: this.#resource(id, 200, { ...this.#stored.get(id)?.body, id }).body,
      search: { mode: 'match' },
    }));
    return { status: 200, headers: {}, body: { resourceType: 'Bundle', type: 'searchset', total: ids.length, entry } };
  }

  /** HAPI refuses what refers to a resource that is not there, or is deleted. */
  #refersToNothing(body: Body | null): boolean {
    return referencesIn(body).some((reference) => !this.#stored.get(reference.split('/')[1] ?? '')?.body);
  }

  #isReferredTo(reference: string): boolean {
    return [...this.#stored.values()].some(
      ({ type, body }) => type !== 'Patient' && referencesIn(body).includes(reference),
    );
  }

  /** Of all resources of the type; the link names the server as a proxy's client does not know it. */
  #page(query: URLSearchParams, type = query.get('_type') ?? ''): Answer {
    const system = query.get('identifier');
    const ids = [...this.resources].flatMap(([id, body]) => {
      const ofSystem = system === null || tokensOf(body).some((token) => token.startsWith(system));
      return this.#stored.get(id)?.type === type && ofSystem ? [id] : [];
    });
    const [from, size] = [Number(query.get('_offset') ?? 0), Number(query.get('_count') ?? this.pageSize)];
    const shown = query.get('_summary') === 'count' ? [] : ids.slice(from, from + Math.min(size, this.pageSize));
    const answer = this.#bundle(shown);
    const next = from + shown.length;
    const link = [
      {
        relation: 'next',
        url: `http://fhir.internal:8080/fhir?_type=${type}&_offset=${next}&_count=${size}${system === null ? '' : `&identifier=${encodeURIComponent(system)}`}`,
      },
    ];
    const more = shown.length > 0 && next < ids.length;
    return { ...answer, body: { ...answer.body, total: ids.length, ...(more && { link }) } };
  }

  #index(body: Body | null, change: (carriers: Set<string>) => void): void {
    for (const token of tokensOf(body)) {
      const key = `${body?.resourceType}?${token}`;
      const carriers = this.#carriers.get(key) ?? new Set();
      change(carriers);
      this.#carriers.set(key, carriers);
    }
  }
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Body | null;
}

/** The PUTs of a transaction Bundle, as the requests that they would have been; none of any other request. */
function putsIn({ method, path, body, via }: Request): BundledPut[] {
  if (method !== 'POST' || path !== '') return [];
  const entries = (body?.entry ?? []) as { resource: Body; request: { url: string; ifMatch?: string } }[];
  const fenced = entries.every(({ request }) => request.ifMatch !== undefined);
  return entries.map(({ resource, request }) => {
    return { method: 'PUT', path: request.url, body: resource, via, fenced, ifMatch: request.ifMatch ?? null };
  });
}

/** What it refers to, as Patient/r1. */
export function referencesIn(body: Body | null): string[] {
  return Object.values(body ?? {}).flatMap((value) => {
    const { reference } = (value ?? {}) as { reference?: unknown };
    return typeof reference === 'string' ? [reference] : [];
  });
}

/** The identifiers of a resource as search tokens, primary first. */
export function tokensOf(body: Body | null): string[] {
  const identifiers = (body?.identifier ?? []) as { system?: string; value?: string }[];
  return identifiers.map(({ system = '', value = '' }) => `${system}|${value}`);
}

function outcome(status: number, diagnostics?: string): Answer {
  const issue = [{ severity: 'error', code: status === 503 ? 'transient' : 'processing', diagnostics }];
  return { status, headers: {}, body: { resourceType: 'OperationOutcome', issue } };
}
