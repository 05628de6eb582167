// TLS to a real HTTPS server: whom the client trusts, and the certificate that it shows (mTLS).
import { once } from 'node:events';
import { createServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { mayBeAsked } from '../../src/fhir/http/secure-address.ts';
import type { Tls } from '../../src/fhir/http/tls.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { clientFor } from '../support/scripted-server.ts';

let authority: CertificateAuthority;
let foreign: CertificateAuthority;

beforeAll(async () => {
  authority = await CertificateAuthority.make();
  foreign = await CertificateAuthority.make('Somebody else');
});

afterAll(async () => {
  await authority.remove();
  await foreign.remove();
});

/** Its base URL by address, and the names of the clients whose requests came. */
async function serveTls(options: ServerOptions): Promise<{ url: string; clients: (string | undefined)[] }> {
  const clients: (string | undefined)[] = [];
  const server = createServer(options, ({ socket }, response) => {
    clients.push((socket as TLSSocket).getPeerCertificate().subject?.CN as string | undefined);
    response.writeHead(200, { 'content-type': 'application/fhir+json' });
    response.end('{"resourceType":"Patient","id":"7","meta":{"versionId":"1"}}');
  });
  server.on('tlsClientError', () => undefined);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/fhir`, clients };
}

async function outcome(url: string, tls: Tls): Promise<string> {
  const answer = await clientFor(url, { tls: () => tls }).fhir.read('Patient', '7');
  return answer.ok ? 'ok' : answer.fault.code;
}

async function serverWith(names: { dns?: string[]; ip?: string[]; expired?: boolean }, by = authority, more = {}) {
  const { certificate: cert, key } = await by.server(names);
  return await serveTls({ cert, key, ...more });
}

describe('the FHIR server is trusted', () => {
  it('with a certificate of the given CA for its address, and of no other CA', async () => {
    const { url } = await serverWith({ ip: ['127.0.0.1'] });
    expect(await outcome(url, { ca: authority.certificate })).toBe('ok');
    expect(await outcome(url, { ca: foreign.certificate })).toBe('tls');
    expect(await outcome(url, {})).toBe('tls');
  });

  it('by its name', async () => {
    const { url } = await serverWith({ dns: ['localhost'] });
    expect(await outcome(url.replace('127.0.0.1', 'localhost'), { ca: authority.certificate })).toBe('ok');
  });

  it('not with a certificate for another name', async () => {
    const { url } = await serverWith({ dns: ['localhost', 'fhir.example.com'], ip: ['10.0.0.1'] });
    expect(await outcome(url, { ca: authority.certificate })).toBe('tls');
  });

  it('not with a certificate whose time is over', async () => {
    const { url } = await serverWith({ ip: ['127.0.0.1'], expired: true });
    expect(await outcome(url, { ca: authority.certificate })).toBe('tls');
  });

  it('not over TLS older than 1.2', async () => {
    const { url } = await serverWith({ ip: ['127.0.0.1'] }, authority, {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT:@SECLEVEL=0',
    });
    expect(await outcome(url, { ca: authority.certificate })).toBe('tls');
  });
});

describe('a FHIR server that demands a certificate', () => {
  const demanding = () =>
    serverWith({ ip: ['127.0.0.1'] }, authority, { ca: authority.certificate, requestCert: true });

  it('is shown it', async () => {
    const { url, clients } = await demanding();
    const { certificate: cert, key } = await authority.client('the-connector');
    expect(await outcome(url, { ca: authority.certificate, cert, key })).toBe('ok');
    expect(clients).toEqual(['the-connector']);
  });

  it('answers nobody who shows none, or one of another CA', async () => {
    const { url, clients } = await demanding();
    const { certificate: cert, key } = await foreign.client('the-connector');
    // In TLS 1.3 the client has finished when the server looks at its certificate.
    for (const own of [{}, { cert, key }])
      expect(await outcome(url, { ca: authority.certificate, ...own })).toMatch(/^(tls|network)$/);
    expect(clients).toEqual([]);
  });
});

it('takes the certificates as they are when it connects', async () => {
  const { url } = await serverWith({ ip: ['127.0.0.1'] });
  let tls: Tls = { ca: foreign.certificate };
  const { fhir } = clientFor(url, { tls: () => tls });
  expect(await fhir.read('Patient', '7')).toMatchObject({ fault: { code: 'tls' } });
  tls = { ca: authority.certificate };
  expect(await fhir.read('Patient', '7')).toMatchObject({ ok: true });
});

describe('an address', () => {
  it.each([
    'https://fhir.example.com/fhir',
    'http://localhost:8080/fhir',
    'http://127.0.0.1/',
    'http://[::1]:80/',
    'HTTP://LOCALHOST/',
  ])('%s may be asked', (address) => {
    expect(mayBeAsked(address, false)).toBe(true);
  });

  it.each([
    'http://fhir.example.com/fhir',
    'http://10.0.0.1/fhir',
    'http://hapi:8080/fhir',
    'http://localhost.example.com/',
    'http://127.0.0.1.example.com/',
    'http://[::2]/',
    'http://0.0.0.0/',
  ])('%s may be asked only where http is allowed', (address) => {
    expect(mayBeAsked(address, false)).toBe(false);
    expect(mayBeAsked(address, true)).toBe(true);
  });

  it.each(['ftp://localhost/', 'file:///etc/passwd'])('%s may not be asked at all', (address) => {
    expect(mayBeAsked(address, true)).toBe(false);
  });
});
