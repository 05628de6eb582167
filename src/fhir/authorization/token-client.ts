// Asks an authorization server for an access token by the grant client_credentials: with a secret, or as SMART Backend
// Services with a signed assertion. https://www.rfc-editor.org/rfc/rfc6749#section-4.4 ,
// https://hl7.org/fhir/smart-app-launch/backend-services.html

import * as oauth from 'openid-client';
import type { Dispatcher } from 'undici';
import { causeOfError, type Failure } from '../faults/fault.ts';
import type { HttpAnswer } from '../http/dispatch.ts';
import { mayBeAsked } from '../http/secure-address.ts';
import type { Tls } from '../http/tls.ts';
import type { AccessToken, TokenSource } from './access-tokens.ts';
import { BoundedAgent } from './bounded-agent.ts';
import { type Access, readSmartConfiguration, type SmartConfiguration, scopesFor } from './smart-configuration.ts';

export interface TokenClientConfig {
  readonly clientId: string;
  readonly authentication: { readonly secret: string } | { readonly key: oauth.CryptoKey; readonly keyId: string };
  /** Null: what the SMART configuration below `fhirServer` names. */
  readonly tokenUrl: string | null;
  readonly fhirServer: string;
  /** Null: of SMART those that `access` needs, else none. */
  readonly scope: string | null;
  readonly access: Access;
  readonly tls: () => Tls;
  readonly allowHttp: boolean;
  /** For one answer. */
  readonly timeoutMs: number;
}

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
  /** For the FHIR server itself. */
  readonly #fhirServer: BoundedAgent;
  /** For who gives out tokens, who may have a certificate of the same CA or of a well-known one. */
  readonly #authorizationServer: BoundedAgent;

  constructor(config: TokenClientConfig) {
    this.#config = config;
    this.#fhirServer = new BoundedAgent(config.tls, config.timeoutMs, 'these alone');
    this.#authorizationServer = new BoundedAgent(config.tls, config.timeoutMs, 'also the well-known');
  }

  async ask(): Promise<{ ok: true; token: AccessToken } | ({ ok: false } & Failure)> {
    const { tokenUrl, scope, access, authentication } = this.#config;
    const found = tokenUrl === null ? await this.#discover() : { tokenEndpoint: tokenUrl, newScopes: true };
    if ('cause' in found) return { ok: false, ...found };
    const wanted = scope ?? ('key' in authentication ? scopesFor(access, found.newScopes) : null);
    const answered: { status: number | null; failure: Failure | null } = { status: null, failure: null };
    try {
      const server = this.#serverAt(found.tokenEndpoint, answered);
      const {
        access_token: value,
        token_type: type,
        expires_in: lifetimeS,
      } = await oauth.clientCredentialsGrant(server, wanted === null ? {} : { scope: wanted });
      // What a header can hold: https://www.rfc-editor.org/rfc/rfc6749#appendix-A.12 , without the space.
      if (type !== 'bearer' || !/^[\x21-\x7e]+$/.test(value))
        return { ok: false, cause: 'token', detail: 'no bearer token' };
      return { ok: true, token: { value, lifetimeS } };
    } catch (error) {
      return { ok: false, ...(answered.failure ?? refusalOf(error, answered.status)) };
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#fhirServer.close(), this.#authorizationServer.close()]);
  }

  /** `answered` is told of the answer, or why there was none. */
  #serverAt(endpoint: string, answered: { status: number | null; failure: Failure | null }): oauth.Configuration {
    const own = { issuer: endpoint, token_endpoint: endpoint };
    const server = new oauth.Configuration(own, this.#config.clientId, undefined, this.#authentication(endpoint));
    server[oauth.customFetch] = async (url, { method, headers, body }) => {
      try {
        const options = { method: method as Dispatcher.HttpMethod, headers, body: String(body ?? '') };
        const answer = await this.#authorizationServer.request(url, options);
        answered.status = answer.status;
        if ('missing' in answer.body) answered.failure = { cause: 'token', detail: answer.body.missing };
        return responseOf(answer);
      } catch (error) {
        answered.failure = failureOf(error);
        throw error;
      }
    };
    // Where http is allowed at all was decided before.
    oauth.allowInsecureRequests(server);
    return server;
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
    const { fhirServer, allowHttp } = this.#config;
    const where = 'the SMART configuration';
    let answer: HttpAnswer;
    try {
      const options = { method: 'GET', headers: { accept: 'application/json' } } as const;
      answer = await this.#fhirServer.request(`${fhirServer}/.well-known/smart-configuration`, options);
    } catch (error) {
      const { cause, detail } = failureOf(error);
      return { cause, detail: `${where}: ${detail ?? 'no answer'}` };
    }
    const detail = `${where}: HTTP ${answer.status}`;
    if (isForNow(answer.status)) return { cause: 'token', detail };
    const found = readSmartConfiguration(answer);
    // A server that speaks TLS sends nobody to a place without it, not on this machine either.
    const plain = new URL(fhirServer).protocol === 'http:';
    if (found === null || !mayBeAsked(found.tokenEndpoint, allowHttp) || (!plain && /^http:/.test(found.tokenEndpoint)))
      return { cause: 'no-token-endpoint', detail };
    return found;
  }
}

/** For the library, which takes members that are null for wrong ones; servers write null for "none". */
function responseOf({ status, headers, body }: HttpAnswer): Response {
  const text = 'text' in body ? body.text : '';
  let without = text;
  try {
    without = JSON.stringify(JSON.parse(text, (_, value) => value ?? undefined)) ?? text;
  } catch {
    // The library says so.
  }
  const empty = status === 204 || status === 304;
  return new Response(empty ? null : without, {
    status,
    headers: { 'content-type': String(headers['content-type'] ?? '') },
  });
}

/** The network's part. */
function failureOf(error: unknown): Failure {
  const cause = causeOfError(error);
  return cause === null ? { cause: 'token' } : { cause: 'token', detail: cause };
}

/** What the authorization server answered; nothing of its words but an error code that the standard has. */
function refusalOf(error: unknown, status: number | null): Failure {
  if (status === null) return { cause: 'token' };
  const known = error instanceof oauth.ResponseBodyError && ERRORS.includes(error.error) ? error.error : null;
  // 404, 405, 410: that is no token endpoint.
  const refused =
    status >= 400 && status < 500 && !isForNow(status) && (known !== null || ![404, 405, 410].includes(status));
  if (refused) return { cause: 'token-refused', detail: known ?? `HTTP ${status}` };
  return { cause: 'token', detail: status === 200 ? 'HTTP 200, no bearer token' : `HTTP ${status}` };
}

function isForNow(status: number): boolean {
  return status >= 500 || status === 408 || status === 429;
}

/**
 * https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1 . The library's own also encodes characters that need not be (- . _ * and
 * here ~), which servers that decode nothing do not recognise.
 */
function basic(secret: string): oauth.ClientAuth {
  const encoded = (text: string) =>
    new URLSearchParams({ text }).toString().slice('text='.length).replaceAll('%7E', '~');
  return (_, { client_id: id }, __, headers) =>
    headers.set('authorization', `Basic ${Buffer.from(`${encoded(id)}:${encoded(secret)}`).toString('base64')}`);
}
