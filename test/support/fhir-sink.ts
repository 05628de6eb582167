// A FHIR server that counts the PUTs of patients, for a test that asks what was sent, how often and in which order. Where
// references, Bundles, searches or faults of other requests play a part, take fhir-ledger.ts.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { capabilityStatement } from './capability-statement.ts';
import { header } from './header.ts';

export interface Put {
  readonly id: string;
  readonly version: number;
  /** The identifier query of a conditional PUT; null when it went by id. */
  readonly identifier: string | null;
  readonly ifMatch: string | null;
  readonly requestId: string | null;
  readonly traceparent: string | null;
  readonly body: Record<string, unknown>;
  /** performance.now() when the request had arrived. */
  readonly at: number;
}

interface Stored {
  version: number;
  body: Record<string, unknown>;
  requestId: string | null;
  deleted: boolean;
}

/**
 * What a test may do to a PUT before it is answered: nothing, wait, answer it with a status of its own instead of
 * applying it, or apply it and break the connection so that the answer is lost.
 */
type Script = (body: Record<string, unknown>) => Promise<Verdict> | Verdict;
type Verdict = number | 'lose-answer' | undefined;

const CAPABILITIES = capabilityStatement('sink');

export class FhirSink {
  /** Every PUT that was applied, in order. */
  readonly puts: Put[] = [];
  /** The ids of the resources that a DELETE was applied to, in order. */
  readonly deletes: string[] = [];
  readonly #stored = new Map<string, Stored>();
  readonly #idOf = new Map<string, string>();
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch((error: NodeJS.ErrnoException) => {
      // A client that is killed breaks its request off; anything else is a fault of the test.
      if (error.code !== 'ECONNRESET') throw error;
      response.destroy();
    });
  });
  #script: Script = () => undefined;
  #port = 0;

  static async start(): Promise<FhirSink> {
    const sink = new FhirSink();
    sink.#server.keepAliveTimeout = 60_000;
    await sink.resume();
    return sink;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/fhir`;
  }

  script(script: Script): void {
    this.#script = script;
  }

  /** The identifier values of the applied PUTs, in order. */
  get values(): string[] {
    return this.puts.map(({ body }) => primaryValue(body));
  }

  /** The applied PUTs of the patient with this identifier value, in order. */
  putsOf(value: string): Put[] {
    return this.puts.filter(({ body }) => primaryValue(body) === value);
  }

  /** Somebody else deletes the resource. */
  remove(id: string): void {
    const stored = this.#stored.get(id);
    if (!stored) throw new Error(`The sink has no resource ${id}.`);
    stored.version += 1;
    stored.deleted = true;
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

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '/', 'http://sink');
    response.setHeader('content-type', 'application/fhir+json');
    if (url.pathname === '/fhir/metadata') response.end(JSON.stringify(CAPABILITIES));
    else if (request.method === 'PUT') {
      const at = performance.now();
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
      const verdict = await this.#script(body);
      if (typeof verdict === 'number') refuse(response, verdict, primaryValue(body));
      else this.#put(request, url, body, at, verdict === undefined ? response : null);
      if (verdict === 'lose-answer') response.destroy();
    } else if (request.method === 'DELETE') this.#delete(url, response);
    else this.#get(url, response);
  }

  /** `response` is null when nobody is to hear of it. */
  #put(
    request: IncomingMessage,
    url: URL,
    body: Record<string, unknown>,
    at: number,
    response: ServerResponse | null,
  ): void {
    const identifier = url.searchParams.get('identifier');
    const id = (identifier === null ? idIn(url) : this.#living(identifier)) ?? `r${this.#stored.size + 1}`;
    const before = this.#stored.get(id);
    const version = (before?.version ?? 0) + 1;
    const ifMatch = request.headers['if-match'] ?? null;
    if (ifMatch !== null && (before?.deleted || ifMatch !== `W/"${before?.version}"`)) {
      refuse(response, before?.deleted ? 410 : 412);
      return;
    }
    const requestId = header(request, 'x-request-id');
    const traceparent = header(request, 'traceparent');
    this.#stored.set(id, { version, body, requestId, deleted: false });
    if (identifier !== null) this.#idOf.set(identifier, id);
    this.puts.push({ id, version, identifier, ifMatch, requestId, traceparent, body, at });
    if (response === null) return;
    response.statusCode = version === 1 ? 201 : 200;
    response.setHeader('etag', `W/"${version}"`);
    response.setHeader('location', `${this.url}/Patient/${id}/_history/${version}`);
    response.end();
  }

  #delete(url: URL, response: ServerResponse): void {
    const id = idIn(url);
    const stored = this.#stored.get(id ?? '');
    if (!id || !stored || stored.deleted) {
      refuse(response, stored ? 410 : 404);
      return;
    }
    this.remove(id);
    this.deletes.push(id);
    response.statusCode = 204;
    response.end();
  }

  #get(url: URL, response: ServerResponse): void {
    const id = idIn(url);
    if (id !== undefined) {
      const stored = this.#stored.get(id);
      if (!stored || stored.deleted) refuse(response, stored ? 410 : 404);
      else response.end(JSON.stringify(resourceOf(id, stored)));
      return;
    }
    const found = this.#living(url.searchParams.get('identifier') ?? '');
    const stored = this.#stored.get(found ?? '');
    const entry = found && stored ? [{ resource: resourceOf(found, stored), search: { mode: 'match' } }] : [];
    response.end(JSON.stringify({ resourceType: 'Bundle', type: 'searchset', total: entry.length, entry }));
  }

  #living(identifier: string): string | undefined {
    const id = this.#idOf.get(identifier);
    return this.#stored.get(id ?? '')?.deleted === false ? id : undefined;
  }
}

/** Like HAPI it names what it refused, in words that no log may repeat. */
function refuse(response: ServerResponse | null, status: number, about = ''): void {
  if (response === null) return;
  response.statusCode = status;
  const issue = { severity: 'error', code: 'processing', diagnostics: `The sink refuses this. ${about}`.trim() };
  response.end(JSON.stringify({ resourceType: 'OperationOutcome', issue: [issue] }));
}

/** As HAPI gives a resource back: with its id, its version, and the id of the request that wrote it. */
function resourceOf(id: string, { body, version, requestId }: Stored): Record<string, unknown> {
  return { ...body, id, meta: { versionId: String(version), source: `#${requestId}` } };
}

/** The id in /fhir/Patient/7 */
function idIn(url: URL): string | undefined {
  return url.pathname.split('/')[3];
}

export function primaryValue(body: Record<string, unknown>): string {
  return (body.identifier as { value: string }[])[0]?.value ?? '';
}
