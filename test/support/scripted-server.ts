// A real HTTP server on 127.0.0.1 that answers as a test says and notes what it was asked, and a client for it.
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { createFhirClient, type FhirClientConfig } from '../../src/fhir/client/create-client.ts';
import type { FhirClient } from '../../src/fhir/client/fhir-client.ts';

interface Received {
  readonly method: string;
  /** As it stood in the request line. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The connections in the order in which they came, from 1. */
  readonly connection: number;
  readonly socket: Socket;
}

/** Called when a request has arrived whole; one that never calls `response.end` never answers. */
export type Handler = (request: Received, response: ServerResponse) => void;

export interface ScriptedServer {
  readonly origin: string;
  readonly received: Received[];
}

/** Starts a server that is stopped when the test is over. */
export async function serve(handler: Handler): Promise<ScriptedServer> {
  const received: Received[] = [];
  const connections = new Map<Socket, number>();
  const server = createServer(async (incoming, response) => {
    const { method = '', url = '', headers, socket } = incoming;
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const request = { method, url, headers, body, connection: connections.get(socket) ?? 0, socket };
    received.push(request);
    handler(request, response);
  });
  // No idle connection is to be closed unless a test does it.
  server.keepAliveTimeout = 0;
  server.on('connection', (socket: Socket) => {
    connections.set(socket, connections.size + 1);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received };
}

export function reply(
  response: ServerResponse,
  status: number,
  body?: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/fhir+json', ...headers });
  response.end(typeof body === 'string' || body === undefined ? body : JSON.stringify(body));
}

/** As `observe` is told: 'PUT ok', 'GET http-503'. */
type Call = string;

/** A client that is closed when the test is over. */
export function clientFor(
  baseUrl: string,
  config: Partial<FhirClientConfig> = {},
): { fhir: FhirClient; calls: Call[] } {
  const calls: Call[] = [];
  const fhir = createFhirClient(
    { baseUrl, concurrency: 1, timeoutMs: 10_000, userAgent: 'fhir-connector/1.2.3', ...config },
    ({ method, outcome, seconds }) => {
      if (!(seconds >= 0 && seconds < 60)) throw new Error(`A call took ${seconds} seconds.`);
      calls.push(`${method} ${outcome}`);
    },
  );
  onTestFinished(() => fhir.close());
  return { fhir, calls };
}

/** A server with a client for its /fhir, whose requests are noted below that base. */
export async function serveFhir(
  handler: Handler,
  config: Partial<FhirClientConfig> = {},
): Promise<{ server: ScriptedServer; fhir: FhirClient; calls: Call[]; asked(): string[] }> {
  const server = await serve(handler);
  const asked = () => server.received.map(({ method, url }) => `${method} ${url.replace(/^\/fhir\//, '')}`);
  return { server, ...clientFor(`${server.origin}/fhir`, config), asked };
}
