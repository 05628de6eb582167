// A real authorization server on 127.0.0.1, oidc-provider, that knows a client with a secret and one with a public key.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type Configuration, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { SignedCertificate } from './certificates.ts';

export const SECRET = 'the+secret/of a client: 100%';
export const KEYS = {
  RS384: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
} as const;

type Algorithm = keyof typeof KEYS;

interface Grant {
  readonly client: string;
  /** Of the request. */
  readonly scope: string | undefined;
  readonly assertion: { readonly header: Record<string, unknown>; readonly claims: Record<string, unknown> } | null;
}

export interface Options {
  /** Seconds. */
  readonly lifetime?: number;
  /** Over TLS. */
  readonly certificate?: SignedCertificate;
  /** Of a CA, in PEM, that has to have signed the certificate of whoever asks. */
  readonly clientCa?: string;
}

export class AuthorizationServer {
  /** Requests for a token, whatever came of them, in order. */
  readonly asked: Grant[] = [];
  readonly #server: Server;
  readonly #provider: Provider;
  #answerInstead: RequestListener | null = null;

  private constructor(server: Server, provider: Provider) {
    this.#server = server;
    this.#provider = provider;
  }

  static async start({ lifetime = 60, certificate, clientCa }: Options = {}): Promise<AuthorizationServer> {
    const server = certificate
      ? createHttpsServer({
          cert: certificate.certificate,
          key: certificate.key,
          ...(clientCa !== undefined && { ca: clientCa, requestCert: true }),
        })
      : createHttpServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    const provider = new Provider(`${certificate ? 'https' : 'http'}://127.0.0.1:${port}`, configuration(lifetime));
    const started = new AuthorizationServer(server, provider);
    const callback = provider.callback();
    server.on('request', (request, response) => {
      if (started.#answerInstead) started.#answerInstead(request, response);
      else callback(request, response);
    });
    provider.on('grant.success', (context) => started.#note(context));
    provider.on('grant.error', (context) => started.#note(context));
    return started;
  }

  get tokenUrl(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `${'setSecureContext' in this.#server ? 'https' : 'http'}://127.0.0.1:${port}/token`;
  }

  /** What a FHIR server would ask it: the scopes of a token that it gave and that still serves, or null. */
  async scopeOf(authorization: string | undefined): Promise<string | null> {
    const token = await this.#provider.ClientCredentials.find(authorization?.replace(/^Bearer /, '') ?? '');
    return token?.isValid ? (token.scope ?? '') : null;
  }

  async revoke(authorization: string): Promise<void> {
    const token = await this.#provider.ClientCredentials.find(authorization.replace(/^Bearer /, ''));
    await token?.destroy();
  }

  /** Something else answers, until null is given. */
  answerInstead(listener: RequestListener | null): void {
    this.#answerInstead = listener;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #note({ oidc, req }: KoaContextWithOIDC): void {
    const params = (oidc.params ?? {}) as Partial<Record<'client_id' | 'client_assertion' | 'scope', string>>;
    const basic = Buffer.from(req.headers.authorization?.replace(/^Basic /, '') ?? '', 'base64').toString();
    const assertion = params.client_assertion
      ?.split('.', 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));
    this.asked.push({
      client: params.client_id ?? basic.split(':')[0] ?? '',
      scope: params.scope,
      assertion: assertion ? { header: assertion[0], claims: assertion[1] } : null,
    });
  }
}

export function pemOf(key: KeyObject, type: 'pkcs8' | 'pkcs1' | 'sec1' = 'pkcs8'): string {
  return String(key.export({ type, format: 'pem' } as { type: 'pkcs8'; format: 'pem' }));
}

function configuration(lifetime: number): Configuration {
  const client = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };
  const signing = (algorithm: Algorithm) => ({
    ...client,
    client_id: `signs-${algorithm}`,
    token_endpoint_auth_method: 'private_key_jwt' as const,
    token_endpoint_auth_signing_alg: algorithm,
    jwks: { keys: [{ ...KEYS[algorithm].publicKey.export({ format: 'jwk' }), kid: `key-${algorithm}`, use: 'sig' }] },
  });
  return {
    clients: [
      {
        ...client,
        client_id: 'has-a_secret.',
        client_secret: SECRET,
        token_endpoint_auth_method: 'client_secret_basic',
      },
      signing('RS384'),
      signing('ES384'),
    ],
    features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
    scopes: ['Patient', 'Encounter', 'Observation'].flatMap((type) =>
      ['rs', 'crus', 'cruds', 'read', 'write'].map((permission) => `system/${type}.${permission}`),
    ),
    clientAuthMethods: ['client_secret_basic', 'private_key_jwt'],
    enabledJWA: { clientAuthSigningAlgValues: ['RS384', 'ES384'] },
    ttl: { ClientCredentials: () => lifetime },
  } as Configuration;
}
