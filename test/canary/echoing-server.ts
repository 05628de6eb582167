// A FHIR server that repeats what it was told in everything that it says: bodies, headers, status texts. What it stores is the
// ledger's; what it says to one request is a test's plan.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Operation } from '../../src/fhir/faults/fault-table.ts';
import { capabilityStatement } from '../support/capability-statement.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';

export interface Asked {
  readonly operation: Operation;
  readonly method: string;
  /** As it stood in the request line. */
  readonly url: string;
  readonly body: string;
}

/** What is answered: all of it, no byte, or half of a connection. */
export type Planned =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  | 'never'
  | 'cut';

interface Plan {
  readonly operation: Operation;
  readonly mentions: string;
  answer(asked: Asked): Planned;
}

export class EchoingServer {
  readonly ledger: FhirLedger;
  /** All requests, in order. */
  readonly asked: Asked[] = [];
  /** Stands in each answer, also where the request had nothing to repeat. */
  readonly word: string;
  readonly #plans: Plan[] = [];
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch((error: NodeJS.ErrnoException) => {
      // A connector that is killed breaks its request off; anything else is a fault of the test.
      if (error.code !== 'ECONNRESET') throw error;
      response.destroy();
    });
  });
  #port = 0;

  private constructor(ledger: FhirLedger, word: string) {
    this.ledger = ledger;
    this.word = word;
  }

  static async start(word: string): Promise<EchoingServer> {
    const server = new EchoingServer(await FhirLedger.start(), word);
    server.#server.keepAliveTimeout = 60_000;
    await server.resume();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/fhir`;
  }

  /** The next request of this kind whose URL, body or resource has `mentions` in it gets this answer, once. */
  plan(operation: Operation, mentions: string, answer: Plan['answer']): void {
    this.#plans.push({ operation, mentions, answer });
  }

  /** What was planned and not asked for yet. */
  get planned(): string[] {
    return this.#plans.map(({ operation, mentions }) => `${operation} of ${mentions}`);
  }

  /** Breaks all connections and refuses new ones. */
  async pause(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async resume(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    if (this.#server.listening) await this.pause();
    await this.ledger.stop();
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = incoming;
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const asked = { operation: operationOf(method, url), method, url, body };
    this.asked.push(asked);
    const planned = this.#planFor(asked)?.answer(asked) ?? (await this.#fromLedger(asked, incoming));
    if (planned === 'never') return;
    if (planned === 'cut') return void incoming.socket.destroy();
    response.statusMessage = this.word;
    response.writeHead(planned.status, { ...this.#headers(asked), ...planned.headers });
    response.end(planned.body);
  }

  #planFor({ operation, url, body }: Asked): Plan | undefined {
    const [id = ''] = url.split('/').slice(3);
    const resource = operation === 'read' || operation === 'delete-by-id' ? this.ledger.resources.get(id) : undefined;
    const text = `${decodeURIComponent(url)} ${body} ${JSON.stringify(resource) ?? ''}`;
    const at = this.#plans.findIndex((plan) => plan.operation === operation && text.includes(plan.mentions));
    return at < 0 ? undefined : this.#plans.splice(at, 1)[0];
  }

  async #fromLedger({ method, url, body, operation }: Asked, incoming: IncomingMessage): Promise<Planned> {
    if (operation === 'metadata') return this.#statement();
    const names = ['if-match', 'x-request-id', 'content-type'];
    const headers = Object.fromEntries(
      names.flatMap((name) => (incoming.headers[name] ? [[name, String(incoming.headers[name])]] : [])),
    );
    const answer = await fetch(new URL(url, this.ledger.url), { method, headers, ...(body !== '' && { body }) });
    const kept = ['etag', 'location', 'content-type'].flatMap((name) => {
      const value = answer.headers.get(name);
      return value === null ? [] : [[name, value] as const];
    });
    return { status: answer.status, headers: Object.fromEntries(kept), body: await answer.text() };
  }

  /** All that a CapabilityStatement has room for. */
  #statement(): Planned {
    const { word } = this;
    const statement = {
      ...capabilityStatement(word),
      id: word,
      name: word,
      title: word,
      publisher: word,
      software: { name: `HAPI FHIR Server ${word}`, version: `8.8.0-${word}`, releaseDate: word },
      implementation: { description: word, url: word },
    };
    return { status: 200, headers: { 'content-type': 'application/fhir+json' }, body: JSON.stringify(statement) };
  }

  #headers({ url }: Asked): Record<string, string> {
    const { word } = this;
    return {
      'content-type': 'application/fhir+json',
      server: word,
      'set-cookie': `${word}=${word}`,
      warning: `199 - "${word}"`,
      link: `<http://fhir.internal${url}>; rel="${word}"`,
      'www-authenticate': `Bearer realm="${word}", error_description="${word}"`,
      'x-request-id': word,
    };
  }
}

function operationOf(method: string, url: string): Operation {
  const { pathname, searchParams } = new URL(url, 'http://server');
  const byId = pathname.split('/').length > 3;
  if (pathname.endsWith('/metadata')) return 'metadata';
  if (method === 'PUT') return byId ? 'put-by-id' : 'conditional-put';
  if (method === 'POST') return 'transaction';
  if (method === 'DELETE') return 'delete-by-id';
  if (byId) return 'read';
  return searchParams.has('_summary') ? 'probe' : 'search';
}
