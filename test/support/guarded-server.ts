// A FHIR server that lets in whoever has a token of its authorization server, and tells clients where that is.
import { once } from 'node:events';
import { request as ask, createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AuthorizationServer } from './authorization-server.ts';

export class GuardedServer {
  /** The answers to requests that had to show a token. */
  readonly statuses: number[] = [];
  /** The last that was let in, as it stood in the Authorization header. */
  lastToken = '';
  /** What the tokens that were let in may do. */
  readonly scopes = new Set<string>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Before the FHIR server at `inner`. */
  static async start(inner: string, authorizes: AuthorizationServer): Promise<GuardedServer> {
    const server = createServer();
    const guarded = new GuardedServer(server);
    server.on('request', (request, response) => void guarded.#answer(request, response, new URL(inner), authorizes));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return guarded;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/fhir`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    inner: URL,
    authorizes: AuthorizationServer,
  ): Promise<void> {
    if (request.url === '/fhir/.well-known/smart-configuration') {
      const capabilities = ['client-confidential-asymmetric', 'permission-v2'];
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ token_endpoint: authorizes.tokenUrl, capabilities }));
      return;
    }
    const { authorization } = request.headers;
    const scope = await authorizes.scopeOf(authorization);
    this.statuses.push(scope === null ? 401 : 200);
    if (scope === null || authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end();
      return;
    }
    this.lastToken = authorization;
    this.scopes.add(scope);
    const { method, headers } = request;
    const passed = ask({ host: inner.hostname, port: inner.port, path: request.url, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    passed.on('error', () => response.destroy());
    request.pipe(passed);
  }
}
