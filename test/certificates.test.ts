// The certificates that tests of TLS use are what they say they are, as Node's own TLS sees them.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CertificateAuthority, type SignedCertificate } from './support/certificates.ts';

let authority: CertificateAuthority;
let foreign: CertificateAuthority;

beforeAll(async () => {
  authority = await CertificateAuthority.make();
  foreign = await CertificateAuthority.make();
});

afterAll(async () => {
  await Promise.all([authority.remove(), foreign.remove()]);
});

/** What each side makes of the other's certificate: null is content. */
async function meet(server: SignedCertificate, client: SignedCertificate | null, servername: string) {
  const listening = createServer({
    cert: server.certificate,
    key: server.key,
    ca: authority.certificate,
    requestCert: true,
    rejectUnauthorized: false,
  }).listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const accepted = once(listening, 'secureConnection') as Promise<[TLSSocket]>;
  const socket = connect({
    port: (listening.address() as AddressInfo).port,
    host: servername,
    lookup: (_, __, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
    ca: authority.certificate,
    rejectUnauthorized: false,
    ...(client && { cert: client.certificate, key: client.key }),
  });
  const [[there]] = await Promise.all([accepted, once(socket, 'secureConnect')]);
  const reason = (one: TLSSocket) => one.authorizationError ?? null;
  const found = {
    ofServer: reason(socket),
    ofClient: reason(there),
    subject: there.getPeerCertificate().subject?.CN ?? null,
  };
  socket.destroy();
  listening.close();
  return found;
}

it('the certificates of tests are verified by the names and addresses they have, and by the client certificate that is given', async () => {
  const server = await authority.server({ dns: ['db.test'], ip: ['127.0.0.1'] });
  const client = await authority.client('connector');
  const content = { ofServer: null, ofClient: null, subject: 'connector' };
  expect(await meet(server, client, '127.0.0.1')).toEqual(content);
  expect(await meet(server, client, 'db.test')).toEqual(content);
  const another = 'ERR_TLS_CERT_ALTNAME_INVALID';
  expect(await meet(server, client, 'other.test')).toEqual({ ...content, ofServer: another });
  expect(await meet(await authority.server({ dns: ['db.test'] }), client, '127.0.0.1')).toMatchObject({
    ofServer: another,
  });
  expect(await meet(server, null, 'db.test')).toMatchObject({ ofServer: null, subject: null });
});

it('the certificates of tests are refused when their time is over, and when another authority signed them', async () => {
  const expired = await authority.server({ dns: ['db.test'], expired: true });
  const found = await meet(expired, await authority.client('connector', { expired: true }), 'db.test');
  expect(found).toMatchObject({ ofServer: 'CERT_HAS_EXPIRED', ofClient: 'CERT_HAS_EXPIRED' });
  const others = await meet(await foreign.server({ dns: ['db.test'] }), await foreign.client('connector'), 'db.test');
  expect(others.ofServer).toMatch(/UNABLE_TO/);
  expect(others.ofClient).toMatch(/UNABLE_TO/);
});
