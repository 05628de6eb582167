// The read-only HTTP server beside the connector: the status page, /metrics for Prometheus, /healthz and /readyz for an orchestrator.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { FatalError } from '../fatal.ts';
import type { Metrics } from './metrics.ts';

interface Health {
  /** It streams, or stands by to take over. */
  ready: boolean;
  /** One word for the body of the probes. */
  state: string;
}

export interface HttpServerConfig {
  host: string;
  /** 0 takes any free port. */
  port: number;
  metrics: Pick<Metrics, 'registry'>;
  health: () => Health;
  /** What is served at /, and the JSON that it reads at /status.json. */
  statusPage: { readonly body: string; readonly headers: Readonly<Record<string, string>>; live(): Promise<object> };
  /** Whether this request may have the status page; without it every one may. */
  mayRead?: (request: IncomingMessage) => boolean;
}

export interface HttpServer {
  /** The port it listens on. */
  port: number;
  /** Stops listening and ends open connections. */
  close(): Promise<void>;
}

/** Prometheus and orchestrators ask for these, without credentials. */
const OPEN_TO_ALL: ReadonlySet<string> = new Set(['/metrics', '/healthz', '/readyz']);
/** For browsers: nothing here belongs into a frame, into another site's page or into a cache, or may have anything from elsewhere. */
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};
/** A client that reads its answer more slowly than this does not get the rest of it. */
const LONGEST_ANSWER_MS = 10_000;
const MOST_CONNECTIONS = 100;

/** Starts the server; rejects with a FatalError that names METRICS_PORT or METRICS_HOST when it cannot listen. */
export async function createHttpServer({
  host,
  port,
  metrics,
  health,
  statusPage,
  mayRead = () => true,
}: HttpServerConfig): Promise<HttpServer> {
  // Probes and scrapes are tiny and rare: small limits keep a stuck or hostile client from holding anything.
  const limits = {
    maxHeaderSize: 8_192,
    headersTimeout: 5_000,
    requestTimeout: 5_000,
    connectionsCheckingInterval: 1_000,
  };
  const server = createServer(limits);
  // One answer on each connection: what is sent behind the first request, by a client that does not wait, makes no work.
  server.maxRequestsPerSocket = 1;
  // With an Expect, too: the client is told at once, and not first to go on with a body that nobody reads.
  for (const event of ['request', 'checkContinue', 'checkExpectation'])
    server.on(event, (request: IncomingMessage, response: ServerResponse) => {
      response.setHeader('connection', 'close');
      const late = setTimeout(() => response.destroy(), LONGEST_ANSWER_MS);
      response.once('close', () => clearTimeout(late));
      answer(request, response).catch(() => response.destroy());
    });

  // The oldest gives way to the newest: whoever holds all of them keeps no probe out, which needs one for some milliseconds.
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    const [oldest] = open;
    if (oldest !== undefined && open.size >= MOST_CONNECTIONS) {
      // Now, and not when it has closed: in a burst the next one is another's turn.
      open.delete(oldest);
      oldest.destroy();
    }
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    const route = routes.get(path);
    if (route === undefined) return send(response, 404, 'text/plain; charset=utf-8', 'not found\n');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return send(response, 405, 'text/plain; charset=utf-8', 'only GET and HEAD\n');
    }
    if (!OPEN_TO_ALL.has(path) && !mayRead(request)) {
      // https://www.rfc-editor.org/rfc/rfc7617#section-2.1
      response.setHeader('www-authenticate', 'Basic realm="FHIR connector", charset="UTF-8"');
      return send(response, 401, 'text/plain; charset=utf-8', 'the status page wants a user and a password\n');
    }
    await route(response);
  }

  const probe = (response: ServerResponse, well: boolean, state: string) =>
    send(response, well ? 200 : 503, 'application/json', `${JSON.stringify({ state })}\n`);

  const routes = new Map<string, (response: ServerResponse) => void | Promise<void>>([
    ['/', (response) => send(response, 200, 'text/html; charset=utf-8', statusPage.body, statusPage.headers)],
    [
      '/status.json',
      async (response) => send(response, 200, 'application/json', JSON.stringify(await statusPage.live())),
    ],
    [
      '/metrics',
      async (response) => send(response, 200, metrics.registry.contentType, await metrics.registry.metrics()),
    ],
    // That it answers is what it says: no outage is mended by a restart.
    ['/healthz', (response) => probe(response, true, health().state)],
    ['/readyz', (response) => probe(response, health().ready, health().state)],
  ]);

  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(cannotListen(error, host, port)));
    server.listen(port, host, resolve);
  });
  // Bound to TCP, so the address is an object: https://nodejs.org/api/net.html#serveraddress
  const address = server.address() as AddressInfo;
  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function send(
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    ...HEADERS,
    ...headers,
    'content-type': type,
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): FatalError {
  const sentences: Record<string, string> = {
    EADDRINUSE: `Port ${port} on ${host} is taken: end what listens there, or set METRICS_PORT to a free port.`,
    EACCES: `Port ${port} on ${host} may not be opened by this user: set METRICS_PORT to a port above 1023.`,
    EADDRNOTAVAIL: `${host} is no address of this machine: set METRICS_HOST to one that is, or to 0.0.0.0 for all.`,
    ENOTFOUND: `The name ${host} is not known: set METRICS_HOST to an address of this machine.`,
  };
  const sentence =
    sentences[error.code ?? ''] ?? `Cannot listen on ${host}, port ${port} (METRICS_HOST, METRICS_PORT).`;
  return new FatalError(sentence, { cause: error });
}
