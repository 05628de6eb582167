// A FHIR R4 server in this process: Medplum's router and repository behind node:http, with the headers that REST asks for.

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { badRequest, contentTooLarge, getStatus, isOk, notFound } from '@medplum/core';
import { type FhirRequest, type FhirResponse, FhirRouter, type HttpMethod } from '@medplum/fhir-router';
import type { Bundle, OperationOutcome, Resource } from '@medplum/fhirtypes';
import { capabilityStatement, loadDefinitions } from './fhir-definitions.ts';
import { VersionedRepository } from './fhir-repository.ts';
import { asSearchset } from './fhir-searchset.ts';
import { transactionResponse, writesOf } from './fhir-transaction.ts';
import type { FhirWrite } from './fhir-write.ts';
import { freePort } from './ports.ts';

export interface FhirServer {
  /** The base URL. */
  readonly url: string;
  readonly port: number;
  /** Ends open connections too. */
  close(): Promise<void>;
}

export interface FhirServerOptions {
  /** Taken if it is free; by default, and otherwise, any. */
  readonly port?: number;
  readonly onWrite?: (write: FhirWrite) => void;
}

const BASE = '/fhir';
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/** Starts an empty server on 127.0.0.1. */
export async function startFhirServer(options: FhirServerOptions = {}): Promise<FhirServer> {
  await loadDefinitions();
  const fhir = new Fhir(options.onWrite ?? (() => undefined));
  const server = createServer((request, response) => {
    fhir.answer(request, response).catch(() => response.destroy());
  });
  const port = await listen(server, options.port);
  fhir.url = `http://127.0.0.1:${port}${BASE}`;
  return {
    url: fhir.url,
    port,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function listen(server: Server, preferred?: number): Promise<number> {
  server.listen(await freePort(preferred), '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A request, below the base URL. */
interface Asked {
  readonly method: string;
  readonly path: string;
  readonly search: string;
}

class Fhir {
  url = '';
  readonly #router = new FhirRouter();
  readonly #repository = new VersionedRepository();
  readonly #onWrite: (write: FhirWrite) => void;
  /** Writes are done one after the other, which makes conditional ones atomic. */
  #lastWrite: Promise<unknown> = Promise.resolve();

  constructor(onWrite: (write: FhirWrite) => void) {
    this.#onWrite = onWrite;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const requestId = request.headers['x-request-id'];
    if (requestId !== undefined) response.setHeader('x-request-id', requestId);
    const { pathname, search } = new URL(`http://127.0.0.1${request.url}`);
    const path = new RegExp(`^${BASE}(?:/(.*))?$`).exec(pathname);
    if (path === null) return send(response, 404, notFound);
    const asked = { method: request.method === 'HEAD' ? 'GET' : (request.method ?? ''), path: path[1] ?? '', search };
    if (asked.method === 'GET' && asked.path === 'metadata') return send(response, 200, capabilityStatement(this.url));

    const body = await readJson(request);
    if ('refusal' in body) return send(response, getStatus(body.refusal), body.refusal);
    const [outcome, resource] = await this.#route(asked, request, body.json);
    if (!isOk(outcome)) return send(response, getStatus(outcome), outcome);
    if (asked.method === 'GET') return this.#sendFound(response, asked, resource ?? outcome);
    if (resource?.resourceType === 'Bundle' && asked.path === '') {
      for (const write of writesOf(body.json as Bundle, resource)) this.#onWrite(write);
      return send(response, 200, transactionResponse(resource, isMinimal(request)));
    }
    return this.#sendWritten(response, asked, request, getStatus(outcome), resource);
  }

  async #route({ method, path, search }: Asked, { headers }: IncomingMessage, body: unknown): Promise<FhirResponse> {
    // pathname, params and query are filled from the URL; a request that has a pathname already is refused.
    const parts = { url: path + search, pathname: '', params: {}, query: {} };
    const config = { transactions: true };
    const request: FhirRequest = { ...parts, method: method as HttpMethod, headers, body, config };
    if (method === 'GET') return await this.#router.handleRequest(request, this.#repository);
    const done = this.#lastWrite.then(() => this.#router.handleRequest(request, this.#repository));
    this.#lastWrite = done.catch(() => undefined);
    return await done;
  }

  #sendFound(response: ServerResponse, { path, search }: Asked, found: Resource): void {
    const isSearch = found.resourceType === 'Bundle' && found.type === 'searchset';
    this.#setVersion(response, found);
    send(response, 200, isSearch ? asSearchset(found, path, search, this.url) : found);
  }

  /** https://hl7.org/fhir/R4/http.html#ops : ETag, Last-Modified, Location, and a body unless Prefer says otherwise. */
  #sendWritten(
    response: ServerResponse,
    { method, path, search }: Asked,
    request: IncomingMessage,
    answered: number,
    resource: Resource | undefined,
  ): void {
    const [type = '', id = resource?.id ?? ''] = path.split('/');
    const versionId = resource?.meta?.versionId ?? this.#repository.versionOf(type, id);
    // Medplum answers 200 also where a PUT by id has created.
    const status = method === 'PUT' && versionId === '1' ? 201 : answered;
    if (versionId !== undefined) {
      const query = [...new URLSearchParams(search)].map(([name, value]) => `${name}=${value}`).join('&');
      const target = query === '' ? path : `${path}?${query}`;
      const ifMatch = request.headers['if-match'] ?? null;
      this.#onWrite({ method, target, ifMatch, status, reference: `${type}/${id}`, versionId });
      const location = `${this.url}/${type}/${id}/_history/${versionId}`;
      response.setHeader('etag', `W/"${versionId}"`);
      if (resource) response.setHeader('content-location', location);
      if (status === 201) response.setHeader('location', location);
    }
    if (resource) this.#setVersion(response, resource);
    const minimal = isMinimal(request) && versionId !== undefined;
    send(response, resource ? status : 204, minimal ? undefined : resource);
  }

  #setVersion(response: ServerResponse, { meta }: Resource): void {
    if (meta?.versionId !== undefined) response.setHeader('etag', `W/"${meta.versionId}"`);
    if (meta?.lastUpdated !== undefined) response.setHeader('last-modified', new Date(meta.lastUpdated).toUTCString());
  }
}

/** https://hl7.org/fhir/R4/http.html#return */
function isMinimal({ headers }: IncomingMessage): boolean {
  return /\breturn=minimal\b/.test(String(headers.prefer ?? ''));
}

async function readJson(request: IncomingMessage): Promise<{ json: unknown } | { refusal: OperationOutcome }> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) return { refusal: contentTooLarge('The body is too large.') };
    chunks.push(chunk);
  }
  if (size === 0) return { json: undefined };
  try {
    return { json: JSON.parse(Buffer.concat(chunks).toString('utf8')) };
  } catch {
    return { refusal: badRequest('The body is no JSON.') };
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.statusCode = status;
  if (body !== undefined) response.setHeader('content-type', 'application/fhir+json; charset=utf-8');
  response.end(body === undefined ? undefined : JSON.stringify(body));
}
