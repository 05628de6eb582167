// A counting HTTP sink that answers PUTs as a FHIR server would: quick, with a log, and obedient to a test's script.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Put {
  readonly id: string;
  readonly version: number;
  /** The identifier query of a conditional PUT; null when it went by id. */
  readonly identifier: string | null;
  readonly ifMatch: string | null;
  readonly requestId: string | null;
  readonly body: Record<string, unknown>;
  /** performance.now() when the request had arrived, and Date.now(). */
  readonly at: number;
  readonly receivedAt: number;
}

interface Stored {
  version: number;
  readonly identifier: string;
  body: Record<string, unknown>;
}

/** What a test may do to a PUT before it is answered: nothing, wait, or answer it with a status of its own. */
export type Script = (body: Record<string, unknown>) => Promise<number | undefined> | number | undefined;

const CAPABILITIES = {
  resourceType: 'CapabilityStatement',
  fhirVersion: '4.0.1',
  software: { name: 'sink' },
  rest: [
    {
      mode: 'server',
      resource: [
        {
          type: 'Patient',
          interaction: ['read', 'update', 'search-type'].map((code) => ({ code })),
          versioning: 'versioned-update',
          conditionalUpdate: true,
        },
      ],
    },
  ],
};

export class FhirSink {
  /** Every PUT that was applied, in order. */
  readonly puts: Put[] = [];
  readonly #stored = new Map<string, Stored>();
  readonly #idOf = new Map<string, string>();
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  #script: Script = () => undefined;

  static async start(): Promise<FhirSink> {
    const sink = new FhirSink();
    sink.#server.keepAliveTimeout = 60_000;
    await new Promise<void>((resolve) => sink.#server.listen(0, '127.0.0.1', resolve));
    return sink;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/fhir`;
  }

  script(script: Script): void {
    this.#script = script;
  }

  /** The identifier values of the applied PUTs, in order. */
  get values(): string[] {
    return this.puts.map(({ body }) => primaryValue(body));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '/', 'http://sink');
    response.setHeader('content-type', 'application/fhir+json');
    if (url.pathname === '/fhir/metadata') {
      response.end(JSON.stringify(CAPABILITIES));
      return;
    }
    if (request.method !== 'PUT') {
      this.#get(url, response);
      return;
    }
    const at = performance.now();
    const receivedAt = Date.now();
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
    const status = await this.#script(body);
    if (status !== undefined) {
      response.statusCode = status;
      response.end(
        JSON.stringify({ resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'processing' }] }),
      );
      return;
    }
    const identifier = url.searchParams.get('identifier');
    const known = identifier === null ? url.pathname.split('/')[3] : this.#idOf.get(identifier);
    const id = known ?? `r${this.#stored.size + 1}`;
    const stored = this.#stored.get(id) ?? { version: 0, identifier: identifier ?? '', body };
    const ifMatch = request.headers['if-match'] ?? null;
    if (ifMatch !== null && ifMatch !== `W/"${stored.version}"`) {
      response.statusCode = 412;
      response.end(
        JSON.stringify({ resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'conflict' }] }),
      );
      return;
    }
    stored.version += 1;
    stored.body = body;
    this.#stored.set(id, stored);
    if (identifier !== null) this.#idOf.set(identifier, id);
    const requestId = request.headers['x-request-id'];
    this.puts.push({
      id,
      version: stored.version,
      identifier,
      ifMatch,
      requestId: typeof requestId === 'string' ? requestId : null,
      body,
      at,
      receivedAt,
    });
    response.statusCode = stored.version === 1 ? 201 : 200;
    response.setHeader('etag', `W/"${stored.version}"`);
    response.setHeader('location', `${this.url}/Patient/${id}/_history/${stored.version}`);
    response.end();
  }

  #get(url: URL, response: ServerResponse): void {
    const id = url.pathname.split('/')[3];
    if (id !== undefined) {
      const stored = this.#stored.get(id);
      response.statusCode = stored ? 200 : 404;
      response.end(
        JSON.stringify(
          stored
            ? { ...stored.body, id, meta: { versionId: String(stored.version) } }
            : { resourceType: 'OperationOutcome', issue: [] },
        ),
      );
      return;
    }
    const found = this.#idOf.get(url.searchParams.get('identifier') ?? '');
    const stored = found === undefined ? undefined : this.#stored.get(found);
    const entry = stored
      ? [
          {
            resource: { ...stored.body, id: found, meta: { versionId: String(stored.version) } },
            search: { mode: 'match' },
          },
        ]
      : [];
    response.end(JSON.stringify({ resourceType: 'Bundle', type: 'searchset', total: entry.length, entry }));
  }
}

export function primaryValue(body: Record<string, unknown>): string {
  return (body.identifier as { value: string }[])[0]?.value ?? '';
}
