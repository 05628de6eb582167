// Access tokens from a real authorization server: by a secret, and by a signed assertion as SMART Backend Services has it.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { readPrivateKey } from '../../../src/config/private-key.ts';
import { TokenClient, type TokenClientConfig } from '../../../src/fhir/authorization/token-client.ts';
import type { Tls } from '../../../src/fhir/http/tls.ts';
import { AuthorizationServer, KEYS, pemOf, SECRET } from '../../support/authorization-server.ts';
import { CertificateAuthority } from '../../support/certificates.ts';
import { reply, serve } from '../../support/scripted-server.ts';

let authorizes: AuthorizationServer;

beforeAll(async () => {
  authorizes = await AuthorizationServer.start();
});

afterAll(() => authorizes.stop());

beforeEach(() => {
  authorizes.asked.length = 0;
  authorizes.answerInstead(null);
});

function client(config: Partial<TokenClientConfig>): TokenClient {
  const made = new TokenClient({
    clientId: 'has-a_secret.',
    authentication: { secret: SECRET },
    tokenUrl: authorizes.tokenUrl,
    fhirServer: 'http://127.0.0.1:1/fhir',
    scope: null,
    access: { types: ['Patient'], writes: true, deletes: false },
    tls: () => ({}),
    allowHttp: false,
    timeoutMs: 10_000,
    ...config,
  });
  onTestFinished(() => made.close());
  return made;
}

function signing(algorithm: keyof typeof KEYS, config: Partial<TokenClientConfig> = {}): TokenClient {
  const { key } = readPrivateKey(pemOf(KEYS[algorithm].privateKey));
  return client({
    clientId: `signs-${algorithm}`,
    authentication: { key, keyId: `key-${algorithm}` },
    ...config,
  });
}

/** The scopes that the server itself finds in the token. */
async function scopesOf(tokens: TokenClient): Promise<string | null> {
  const answer = await tokens.ask();
  return answer.ok ? await authorizes.scopeOf(`Bearer ${answer.token.value}`) : `${answer.cause}: ${answer.detail}`;
}

describe('with a secret', () => {
  it('there is a token for as long as the server says, whatever characters id and secret have', async () => {
    const answer = await client({}).ask();
    expect(answer).toMatchObject({ ok: true, token: { lifetimeS: 60 } });
    if (answer.ok) expect(await authorizes.scopeOf(`Bearer ${answer.token.value}`)).toBe('');
  });

  it('it has the scopes that were asked for', async () => {
    expect(await scopesOf(client({ scope: 'system/Patient.rs system/Observation.rs' }))).toBe(
      'system/Patient.rs system/Observation.rs',
    );
  });

  it.each([
    ['a wrong secret', { authentication: { secret: 'hush' } }, 'invalid_client'],
    ['an unknown client', { clientId: 'hush' }, 'invalid_client'],
  ])('%s is refused, in a word of the standard', async (_, config, detail) => {
    expect(await client(config).ask()).toEqual({ ok: false, cause: 'token-refused', detail });
  });
});

describe('with a private key', () => {
  it.each(['RS384', 'ES384'] as const)('there is a token for what it signs with %s', async (algorithm) => {
    expect(await scopesOf(signing(algorithm))).toBe('system/Patient.crus');
    const [grant] = authorizes.asked;
    expect(grant?.assertion?.header).toEqual({ alg: algorithm, kid: `key-${algorithm}`, typ: 'JWT' });
  });

  // https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html#request-an-access-token
  it('says of itself what SMART demands, and each time another jti', async () => {
    const tokens = signing('ES384');
    for (let turn = 1; turn <= 2; turn += 1) expect(await scopesOf(tokens)).toBe('system/Patient.crus');
    const claims = authorizes.asked.map(({ assertion }) => assertion?.claims ?? {});
    expect(claims).toHaveLength(2);
    for (const { iss, sub, aud, exp, iat, jti, ...others } of claims) {
      expect({ iss, sub, aud }).toEqual({ iss: 'signs-ES384', sub: 'signs-ES384', aud: authorizes.tokenUrl });
      expect(Number(exp) - Number(iat)).toBe(240);
      expect(jti).toMatch(/^[\w-]{16,}$/);
      expect(others).toEqual({});
    }
    expect(claims[0]?.jti).not.toBe(claims[1]?.jti);
  });

  it('that the server does not know there is no token', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const { key } = readPrivateKey(pemOf(privateKey));
    const tokens = signing('ES384', { authentication: { key, keyId: 'key-ES384' } });
    expect(await tokens.ask()).toEqual({ ok: false, cause: 'token-refused', detail: 'invalid_client' });
  });
});

describe("by the FHIR server's SMART configuration", () => {
  async function fhirServer(document: unknown, status = 200) {
    const server = await serve((_, response) =>
      reply(response, status, document, { 'content-type': 'application/json' }),
    );
    return { server, fhirServer: `${server.origin}/fhir` };
  }
  const found = (more: object = {}) => ({
    token_endpoint: authorizes.tokenUrl,
    capabilities: ['permission-v2'],
    ...more,
  });

  it('the token endpoint is found, without credentials', async () => {
    const { server, fhirServer: at } = await fhirServer(found());
    expect(await scopesOf(signing('RS384', { tokenUrl: null, fhirServer: at }))).toBe('system/Patient.crus');
    expect(server.received).toMatchObject([{ method: 'GET', url: '/fhir/.well-known/smart-configuration' }]);
    expect(server.received[0]?.headers).not.toHaveProperty('authorization');
  });

  it.each([
    ['of version 2', ['permission-v1', 'permission-v2'], 'system/Patient.crus system/Observation.crus'],
    [
      'of version 1',
      ['permission-v1', 'client-confidential-asymmetric'],
      'system/Patient.read system/Patient.write system/Observation.read system/Observation.write',
    ],
    [
      'of version 1, which knows no such words',
      undefined,
      'system/Patient.read system/Patient.write system/Observation.read system/Observation.write',
    ],
  ])('its scopes are asked for: %s', async (_, capabilities, scopes) => {
    const { fhirServer: at } = await fhirServer(found({ capabilities }));
    const access = { types: ['Patient', 'Observation'], writes: true, deletes: false };
    expect(await scopesOf(signing('RS384', { tokenUrl: null, fhirServer: at, access }))).toBe(scopes);
  });

  it('who reads asks for no more, and who deletes for that as well', async () => {
    const access = { types: ['Patient'], writes: false, deletes: false };
    expect(await scopesOf(signing('RS384', { access }))).toBe('system/Patient.rs');
    expect(await scopesOf(signing('RS384', { access: { ...access, writes: true, deletes: true } }))).toBe(
      'system/Patient.cruds',
    );
    const { fhirServer: at } = await fhirServer(found({ capabilities: ['permission-v1'] }));
    expect(await scopesOf(signing('RS384', { access, tokenUrl: null, fhirServer: at }))).toBe('system/Patient.read');
  });

  it.each<[string, unknown, number]>([
    ['names none', { issuer: 'x' }, 200],
    ['names another thing', { token_endpoint: 7 }, 200],
    ['names a file', { token_endpoint: 'file:///etc/passwd' }, 200],
    ['names a relative one', { token_endpoint: '/token' }, 200],
    ['is not JSON', '<html>', 200],
    ['is null', null, 200],
    ['is not there', {}, 404],
    ['names one with a user', { token_endpoint: 'https://user:hush@auth.example.com/token' }, 200],
    ['names one with a fragment', { token_endpoint: 'https://auth.example.com/token#hush' }, 200],
    ['names one with http on another machine', { token_endpoint: 'http://auth.example.com/token' }, 200],
  ])('that %s there is no token, and nothing is sent', async (_, document, status) => {
    const { server, fhirServer: at } = await fhirServer(document, status);
    const answer = await signing('RS384', { tokenUrl: null, fhirServer: at }).ask();
    const detail = `the SMART configuration: HTTP ${status}`;
    expect(answer).toEqual({ ok: false, cause: 'no-token-endpoint', detail });
    expect(server.received).toHaveLength(1);
    expect(authorizes.asked).toEqual([]);
  });

  it.each([500, 503, 408, 429])('that cannot be had for now (%i) is told as such', async (status) => {
    const { fhirServer: at } = await fhirServer({}, status);
    expect(await signing('RS384', { tokenUrl: null, fhirServer: at }).ask()).toEqual({
      ok: false,
      cause: 'token',
      detail: `the SMART configuration: HTTP ${status}`,
    });
  });

  it('of a server that is away is not told as the token endpoint', async () => {
    expect(await signing('RS384', { tokenUrl: null }).ask()).toEqual({
      ok: false,
      cause: 'token',
      detail: 'the SMART configuration: unreachable',
    });
  });

  describe('over TLS', () => {
    it('is asked for with the trust that the FHIR server has, and names no place without TLS, not even here', async () => {
      const authority = await CertificateAuthority.make();
      const foreign = await CertificateAuthority.make('Somebody else');
      const { certificate: cert, key } = await authority.server({ ip: ['127.0.0.1'] });
      const document = JSON.stringify(found());
      const server = createServer({ cert, key }, (_, response) => response.end(document));
      await once(server.listen(0, '127.0.0.1'), 'listening');
      onTestFinished(async () => {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
        await Promise.all([authority.remove(), foreign.remove()]);
      });
      const at = `https://127.0.0.1:${(server.address() as AddressInfo).port}/fhir`;
      const ask = (ca: string) => signing('RS384', { tokenUrl: null, fhirServer: at, tls: () => ({ ca }) }).ask();
      expect(await ask(foreign.certificate)).toMatchObject({ detail: 'the SMART configuration: tls' });
      expect(await ask(authority.certificate)).toMatchObject({ cause: 'no-token-endpoint' });
      expect(authorizes.asked).toEqual([]);
      // One of a CA that Node trusts by default is not enough either.
      const trusted = getCACertificates('default');
      setDefaultCACertificates([...trusted, authority.certificate]);
      onTestFinished(() => setDefaultCACertificates(trusted));
      expect(await ask(foreign.certificate)).toMatchObject({ detail: 'the SMART configuration: tls' });
    });
  });
});

describe('a token endpoint', () => {
  const wrong =
    (status: number, body: string, headers: Record<string, string> = {}): RequestListener =>
    (_, response) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
    };

  it.each<[string, RequestListener, string, string | undefined]>([
    ['fails', wrong(500, '{"error":"hush"}'), 'token', 'HTTP 500'],
    ['is overloaded', wrong(429, '{"error":"temporarily_unavailable"}'), 'token', 'HTTP 429'],
    ['gives a page', wrong(200, '<html>hush', { 'content-type': 'text/html' }), 'token', 'HTTP 200, no bearer token'],
    ['gives no token', wrong(200, '{"token_type":"bearer"}'), 'token', 'HTTP 200, no bearer token'],
    [
      'gives a token of another kind',
      wrong(200, '{"access_token":"hush","token_type":"mac"}'),
      'token',
      'HTTP 200, no bearer token',
    ],
    [
      'gives a token that is bound to a key',
      wrong(200, '{"access_token":"hush","token_type":"DPoP"}'),
      'token',
      'no bearer token',
    ],
    [
      'gives a token that no header can hold',
      wrong(200, '{"access_token":"hu\\nsh","token_type":"bearer"}'),
      'token',
      'no bearer token',
    ],
    ['redirects', wrong(302, '', { location: 'http://127.0.0.1:1/' }), 'token', 'HTTP 302'],
    ['is none', wrong(404, '{}'), 'token', 'HTTP 404'],
    ['takes no POST', wrong(405, ''), 'token', 'HTTP 405'],
    ['has error words of its own', wrong(400, '{"error":"hush"}'), 'token-refused', 'HTTP 400'],
    [
      'refuses the scope',
      wrong(400, '{"error":"invalid_scope","error_description":"hush"}'),
      'token-refused',
      'invalid_scope',
    ],
    ['demands something', wrong(401, '{}', { 'www-authenticate': 'Basic realm="hush"' }), 'token-refused', 'HTTP 401'],
    [
      'says too much',
      wrong(200, `{"access_token":"${'x'.repeat(300_000)}","token_type":"bearer"}`),
      'token',
      'answer-too-large',
    ],
    ['breaks off', (request) => void request.socket.destroy(), 'token', 'network'],
  ])('that %s gives none, and its words are not repeated', async (_, listener, cause, detail) => {
    authorizes.answerInstead(listener);
    const answer = await client({}).ask();
    expect(answer).toEqual({ ok: false, cause, ...(detail !== undefined && { detail }) });
  });

  it('may write null for what it does not have', async () => {
    const answer = '{"access_token":"hush","token_type":"Bearer","expires_in":null,"scope":null,"refresh_token":null}';
    authorizes.answerInstead(wrong(200, answer));
    expect(await client({}).ask()).toEqual({ ok: true, token: { value: 'hush', lifetimeS: undefined } });
  });

  it('that never answers is waited for as long as for the FHIR server', async () => {
    authorizes.answerInstead(() => undefined);
    expect(await client({ timeoutMs: 100 }).ask()).toEqual({ ok: false, cause: 'token', detail: 'timeout' });
  });

  it('that is away is told as such', async () => {
    const answer = await client({ tokenUrl: 'http://127.0.0.1:1/token' }).ask();
    expect(answer).toEqual({ ok: false, cause: 'token', detail: 'unreachable' });
  });

  it('is not waited for any more once the client is closed', async () => {
    const asked = Promise.withResolvers<void>();
    authorizes.answerInstead(() => asked.resolve());
    const tokens = client({});
    const answer = tokens.ask();
    await asked.promise;
    await tokens.close();
    expect(await answer).toMatchObject({ ok: false, cause: 'token' });
  });
});

describe('over TLS', () => {
  it('it is asked with the CA of the FHIR server, and shows the same certificate', async () => {
    const authority = await CertificateAuthority.make();
    const own = await authority.client('connector');
    const tls = await AuthorizationServer.start({
      certificate: await authority.server({ ip: ['127.0.0.1'] }),
      clientCa: authority.certificate,
    });
    onTestFinished(async () => {
      await tls.stop();
      await authority.remove();
    });
    const { certificate: cert, key } = own;
    const ask = (trust: Tls) => client({ tokenUrl: tls.tokenUrl, tls: () => trust }).ask();
    expect(await ask({ ca: authority.certificate, cert, key })).toMatchObject({ ok: true, token: {} });
    // In TLS 1.3 the client has finished when the server looks at its certificate.
    expect(await ask({ ca: authority.certificate })).toMatchObject({
      detail: expect.stringMatching(/^(tls|network)$/),
    });
    expect(await ask({})).toEqual({ ok: false, cause: 'token', detail: 'tls' });
  });
});
