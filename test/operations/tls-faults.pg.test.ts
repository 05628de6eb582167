// What may be wrong with TLS to PostgreSQL: each with its sentence, on the replication connection and on an ordinary one.
import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { databaseClient } from '../../src/config/database.ts';
import { databaseSchema } from '../../src/config/environment.ts';
import { readConfig } from '../../src/config/read.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { type ClientConfig, PostgresClient } from '../../src/postgres/client.ts';
import { refusal } from '../../src/replication/server/diagnosis.ts';
import { CertificateAuthority, type SignedCertificate } from '../support/certificates.ts';
import { runCommand } from '../support/command.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { makeLogins, PASSWORD, restart, startTlsServer } from '../support/postgres-tls.ts';
import { migrated } from '../support/servers.ts';

const LOOPBACK = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address));
/** A container may have no IPv6. */
const ADDRESSES = ['127.0.0.1', '::1'].filter((address) => LOOPBACK.includes(address));

let server: EmbeddedPostgres;
let fhir: FhirSink;
let authority: CertificateAuthority;
let foreign: CertificateAuthority;
let own: SignedCertificate;

beforeAll(async () => {
  server = await startTlsServer();
  await migrated(server, 'hospital');
  await makeLogins(server);
  fhir = await FhirSink.start();
  [authority, foreign] = await Promise.all([CertificateAuthority.make(), CertificateAuthority.make('Another')]);
  own = await authority.client('connector');
});

afterAll(async () => {
  await fhir.stop();
  await server.stop('immediate');
  await Promise.all([authority.remove(), foreign.remove()]);
});

const signedBy = (one: SignedCertificate) => ({ DB_SSLCERT: one.certificateFile, DB_SSLKEY: one.keyFile });

/** Of a login by certificate, with no password and no DB_SSLMODE. */
function environment(variables: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    DB_HOST: '127.0.0.1',
    DB_PORT: String(server.port),
    DB_NAME: 'hospital',
    DB_USER: 'connector',
    DB_SSLROOTCERT: authority.certificateFile,
    ...signedBy(own),
    FHIR_SERVER: fhir.url,
    METRICS_HOST: '127.0.0.1',
    METRICS_PORT: '0',
    ...variables,
  };
}

async function serve(
  certificate: SignedCertificate | Promise<SignedCertificate>,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  await restart(server, { own: await certificate, clientAuthority: authority.certificate }, settings);
}

const forAddresses = () => authority.server({ dns: ['localhost'], ip: ['127.0.0.1', '::1'] });

/** What doctor says of the connection: an ordinary one. */
async function connection(variables: Record<string, string>): Promise<string | undefined> {
  const { stdout } = await runCommand(variables, 'doctor', '--json');
  return (JSON.parse(stdout) as Finding[]).find(({ check }) => check === 'Connection')?.found;
}

/** `run`, whose first connection is the replication connection, ends; doctor, on an ordinary one, says the same. */
async function expectFatal(variables: Record<string, string>, sentence: string): Promise<void> {
  const [{ status, stderr }, found] = await Promise.all([runCommand(variables, 'run'), connection(variables)]);
  expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(sentence) });
  expect(found).toContain(sentence);
}

/** The host that lets the connector in, on an ordinary connection and on a replication connection alike, or why none does. */
async function host(variables: Record<string, string>): Promise<string> {
  const config = databaseClient(readConfig(databaseSchema, environment(variables)));
  const [ordinary, replication] = await Promise.all(
    [{}, { replication: 'database' }].map(async (kind) => {
      const client = new PostgresClient({ ...config, ...kind } as ClientConfig);
      try {
        await client.connect();
        return client.host;
      } catch (error) {
        return refusal(error);
      } finally {
        await client.end().catch(() => undefined);
      }
    }),
  );
  expect(replication).toBe(ordinary);
  return ordinary ?? '';
}

const ANOTHER = "PostgreSQL's certificate is not for the name or address in DB_HOST";
const UNTRUSTED = "No trusted CA signed PostgreSQL's certificate";
const NOT_LET_IN = 'PostgreSQL does not let this user in: check DB_USER, DB_SSLMODE, DB_SSLCERT';
const LETS_IN = 'PostgreSQL lets the user in.';

describe('the certificate of PostgreSQL', () => {
  it('is no good where another CA signed it, or none that is known; with DB_SSLMODE=require neither', async () => {
    await serve(forAddresses());
    expect(await connection(environment())).toBe(LETS_IN);
    const others = { DB_SSLROOTCERT: foreign.certificateFile };
    await expectFatal(environment(others), UNTRUSTED);
    await expectFatal(environment({ ...others, DB_SSLMODE: 'require' }), UNTRUSTED);
    await expectFatal(environment({ DB_SSLROOTCERT: '' }), UNTRUSTED);
  });

  it('is no good when its time is over', async () => {
    await serve(authority.server({ ip: ['127.0.0.1'], expired: true }));
    await expectFatal(environment(), "PostgreSQL's certificate or its CA's has expired");
  });

  it('has to be for the host that is in DB_HOST, be it a name or an address', async () => {
    for (const address of ADDRESSES) {
      await serve(authority.server({ ip: [address] }));
      expect(await host({ DB_HOST: address })).toBe(address);
      expect(await host({ DB_HOST: 'localhost' })).toContain(ANOTHER);
      expect(await host({ DB_HOST: 'localhost', DB_SSLMODE: 'require' })).toBe('localhost');
    }
    await serve(authority.server({ dns: ['localhost'] }));
    expect(await host({ DB_HOST: 'localhost' })).toBe('localhost');
    for (const address of ADDRESSES) {
      expect(await host({ DB_HOST: address })).toContain(ANOTHER);
      expect(await host({ DB_HOST: address, DB_SSLMODE: 'require' })).toBe(address);
    }
    await expectFatal(environment({ DB_HOST: '127.0.0.1' }), ANOTHER);
  });

  it('of several hosts, has to be for the one that is asked and then connected to', async () => {
    for (const address of ADDRESSES) {
      await serve(authority.server({ ip: [address] }));
      expect(await host({ DB_HOST: `localhost,${address}` })).toBe(address);
    }
    await serve(authority.server({ dns: ['localhost'] }));
    for (const address of ADDRESSES) {
      expect(await host({ DB_HOST: `${address},localhost` })).toBe('localhost');
      expect(await host({ DB_HOST: `${address},${address}` })).toContain(
        'gives no connection (ERR_TLS_CERT_ALTNAME_INVALID)',
      );
    }
  });

  it('is not there at all where TLS is off', async () => {
    await restart(server, null);
    await expectFatal(environment(), 'PostgreSQL offers no TLS there');
  });
});

describe('the certificate of the connector', () => {
  beforeAll(() => serve(forAddresses()));

  it('is missed where PostgreSQL demands one, and so is TLS', async () => {
    await expectFatal(environment({ DB_SSLCERT: '', DB_SSLKEY: '' }), NOT_LET_IN);
    const plain = { DB_SSLMODE: 'disable', DB_SSLROOTCERT: '', DB_SSLCERT: '', DB_SSLKEY: '' };
    await expectFatal(environment(plain), NOT_LET_IN);
  });

  it('is no good where a CA signed it that PostgreSQL does not know', async () => {
    const alien = signedBy(await foreign.client('connector'));
    await expectFatal(environment(alien), 'PostgreSQL does not know the CA of the certificate in DB_SSLCERT');
  });

  it('is no good when its time is over', async () => {
    const expired = signedBy(await authority.client('connector', { expired: true }));
    await expectFatal(environment(expired), 'The certificate in DB_SSLCERT has expired');
  });

  it('is no good where it is of another user, also beside the right password', async () => {
    await expectFatal(environment(signedBy(await authority.client('another'))), NOT_LET_IN);
    const doubly = { DB_USER: 'doubly', DB_PASSWORD: PASSWORD };
    expect(await connection(environment({ ...doubly, ...signedBy(await authority.client('doubly')) }))).toBe(LETS_IN);
    await expectFatal(environment(doubly), 'check DB_USER and DB_PASSWORD; and DB_SSLCERT');
  });
});

describe('the version of TLS', () => {
  const FAILED = 'The TLS handshake with PostgreSQL failed: its log says why. Both sides need TLS 1.2 or newer';

  it('is 1.2 or newer: none that is older is spoken, and PostgreSQL is waited for', async () => {
    await serve(forAddresses(), { ssl_max_protocol_version: 'TLSv1.2' });
    expect(await connection(environment())).toBe(LETS_IN);
    const alien = signedBy(await foreign.client('connector'));
    expect(await connection(environment(alien))).toContain(FAILED);
    const old = { ssl_min_protocol_version: 'TLSv1.1', ssl_max_protocol_version: 'TLSv1.1' };
    await serve(forAddresses(), { ...old, ssl_ciphers: 'DEFAULT@SECLEVEL=0' });
    expect(await connection(environment())).toContain(FAILED);
    // What an operator may have asked of Node for another program's sake changes nothing.
    const lax = { NODE_OPTIONS: '--tls-min-v1.0 --tls-cipher-list=DEFAULT@SECLEVEL=0' };
    expect(await connection(environment(lax))).toContain(FAILED);
  });
});
