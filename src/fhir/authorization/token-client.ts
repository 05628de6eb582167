// Asks an authorization server for an access token by the grant client_credentials: with a secret, or as SMART Backend
// Services with a signed assertion. https://www.rfc-editor.org/rfc/rfc6749#section-4.4 ,
// https://hl7.org/fhir/smart-app-launch/backend-services.html

import * as oauth from 'openid-client';
import { Agent, type Dispatcher } from 'undici';
import { dispatch } from '../dispatch.ts';
import { causeOfError, type Failure } from '../fault.ts';
import { mayBeAsked } from '../secure-address.ts';
import { connectOptions, type Tls } from '../tls.ts';
import type { AccessToken, TokenSource } from './access-tokens.ts';
import type { SigningKey } from './private-key.ts';
import { type Access, readSmartConfiguration, type SmartConfiguration, scopesFor } from './smart-configuration.ts';

export interface TokenClientConfig {
  readonly clientId: string;
  readonly authentication: { readonly secret: string } | { readonly key: SigningKey['key']; readonly keyId: string };
  /** Null: what the SMART configuration below `fhirServer` names. */
  readonly tokenUrl: string | null;
  readonly fhirServer: string;
  /** Null: of SMART those that `access` needs, else none. */
  readonly scope: string | null;
  readonly access: Access;
  readonly tls: Tls;
  readonly allowHttp: boolean;
  /** For one answer. */
  readonly timeoutMs: number;
}

const MOST_BYTES = 256 * 1024;
/** SMART allows five minutes; a server whose clock is behind by one must not take it for more. */
const ASSERTION_SECONDS = 240;
/** https://www.rfc-editor.org/rfc/rfc6749#section-5.2 : words that name no secret, and that an operator can look up. */
const ERRORS: readonly unknown[] = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
];

export class TokenClient implements TokenSource {
  readonly #config: TokenClientConfig;
  readonly #agent: Agent;

  constructor(config: TokenClientConfig) {
    this.#config = config;
    // Who gives out tokens may have a certificate of the same CA, or of a well-known one.
    this.#agent = new Agent({
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: connectOptions(config.tls, config.timeoutMs, 'also the well-known'),
    });
  }

  async ask(): Promise<{ ok: true; token: AccessToken } | ({ ok: false } & Failure)> {
    const { tokenUrl, scope, access, allowHttp, clientId } = this.#config;
    const found = tokenUrl === null ? await this.#discover() : { tokenEndpoint: tokenUrl, newScopes: true };
    if ('cause' in found) return { ok: false, ...found };
    const endpoint = found.tokenEndpoint;
    if (!mayBeAsked(endpoint, allowHttp)) return { ok: false, cause: 'no-token-endpoint' };
    const server = new oauth.Configuration(
      { issuer: endpoint, token_endpoint: endpoint },
      clientId,
      undefined,
      this.#authentication(endpoint),
    );
    let failure: Failure | null = null;
    server[oauth.customFetch] = async (url, { method, headers, body }) => {
      try {
        return await this.#fetch(url, method, headers, String(body ?? ''));
      } catch (error) {
        failure = failureOf(error);
        throw error;
      }
    };
    // Where http is allowed at all was decided above.
    oauth.allowInsecureRequests(server);
    const wanted = scope ?? ('key' in this.#config.authentication ? scopesFor(access, found.newScopes) : null);
    try {
      const answer = await oauth.clientCredentialsGrant(server, wanted === null ? {} : { scope: wanted });
      return { ok: true, token: { value: answer.access_token, lifetimeS: answer.expires_in } };
    } catch (error) {
      return { ok: false, ...(failure ?? refusalOf(error)) };
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  #authentication(endpoint: string): oauth.ClientAuth {
    const { authentication } = this.#config;
    if ('secret' in authentication) return basic(authentication.secret);
    const { key, keyId } = authentication;
    return oauth.PrivateKeyJwt(
      { key, kid: keyId },
      {
        [oauth.modifyAssertion]: (header, payload) => {
          header.typ = 'JWT';
          // SMART has the token endpoint's URL here, others the server's issuer.
          payload.aud = endpoint;
          payload.exp = Number(payload.iat) + ASSERTION_SECONDS;
          // Not needed, and refused by a server whose clock is a second behind.
          delete payload.nbf;
        },
      },
    );
  }

  async #discover(): Promise<SmartConfiguration | Failure> {
    const url = `${this.#config.fhirServer}/.well-known/smart-configuration`;
    try {
      const answer = await this.#request(url, { method: 'GET', headers: { accept: 'application/json' } });
      return readSmartConfiguration(answer) ?? { cause: 'no-token-endpoint', detail: `HTTP ${answer.status}` };
    } catch (error) {
      return failureOf(error);
    }
  }

  async #fetch(url: string, method: string, headers: Record<string, string>, body: string): Promise<Response> {
    const answer = await this.#request(url, { method: method as Dispatcher.HttpMethod, headers, body });
    if ('missing' in answer.body) throw new DOMException('The answer is not complete.', 'DataError');
    const type = answer.headers['content-type'];
    const empty = answer.status === 204 || answer.status === 304;
    return new Response(empty ? null : answer.body.text, {
      status: answer.status,
      headers: { 'content-type': String(type ?? '') },
    });
  }

  /** Rejects with what causeOfError knows. */
  async #request(url: string, options: Pick<Dispatcher.DispatchOptions, 'method' | 'headers' | 'body'>) {
    const { origin, pathname, search } = new URL(url);
    const deadline = performance.now() + this.#config.timeoutMs;
    return await dispatch(this.#agent, { origin, path: pathname + search, ...options }, MOST_BYTES, deadline);
  }
}

/** The network's part. */
function failureOf(error: unknown): Failure {
  const cause = causeOfError(error);
  return cause === null ? { cause: 'token' } : { cause: 'token', detail: cause };
}

/** What the authorization server answered; nothing of its words but an error code that the standard has. */
function refusalOf(error: unknown): Failure {
  const known = error instanceof oauth.ResponseBodyError && ERRORS.includes(error.error) ? error.error : null;
  const status = statusOf(error);
  if (status === null) return { cause: 'token' };
  const refused = status >= 400 && status < 500 && status !== 408 && status !== 429;
  return { cause: refused ? 'token-refused' : 'token', detail: (refused && known) || `HTTP ${status}` };
}

function statusOf(error: unknown): number | null {
  if (error instanceof oauth.ResponseBodyError) return error.status;
  return error instanceof Error && error.cause instanceof Response ? error.cause.status : null;
}

/**
 * https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1 . The library's own also encodes the characters that a form leaves as they
 * are (- . _ *), which servers that decode nothing do not recognise.
 */
function basic(secret: string): oauth.ClientAuth {
  const encoded = (text: string) => new URLSearchParams({ text }).toString().slice('text='.length);
  return (_, { client_id: id }, __, headers) =>
    headers.set('authorization', `Basic ${Buffer.from(`${encoded(id)}:${encoded(secret)}`).toString('base64')}`);
}
