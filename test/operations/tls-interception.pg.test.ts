// Somebody between the connector and PostgreSQL who speaks TLS with both: who notices, and by what.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { runCommand } from '../support/command.ts';
import { makeLogins, PASSWORD, restart, startTlsServer } from '../support/postgres-tls.ts';
import { migrated } from '../support/servers.ts';
import { TlsInterceptor } from '../support/tls-interceptor.ts';

let server: EmbeddedPostgres;
let authority: CertificateAuthority;
let foreign: CertificateAuthority;
let between: TlsInterceptor;

beforeAll(async () => {
  server = await startTlsServer();
  await migrated(server, 'hospital');
  await makeLogins(server);
  [authority, foreign] = await Promise.all([CertificateAuthority.make(), CertificateAuthority.make('Another')]);
  const names = { dns: ['localhost'], ip: ['127.0.0.1'] };
  await restart(server, { own: await authority.server(names), clientAuthority: authority.certificate });
  between = await TlsInterceptor.start(server, await foreign.server(names));
});

afterAll(async () => {
  await between.stop();
  await server.stop('immediate');
  await Promise.all([authority.remove(), foreign.remove()]);
});

const list = (variables: Record<string, string>) =>
  runCommand(
    {
      DB_HOST: '127.0.0.1',
      DB_PORT: String(server.port),
      DB_NAME: 'hospital',
      DB_USER: 'encrypted',
      DB_PASSWORD: PASSWORD,
      ...variables,
    },
    'dlq',
    'list',
  );

describe('with a password, somebody in between', () => {
  it('is refused by the certificate where that is verified', async () => {
    const verified = { DB_SSLROOTCERT: authority.certificateFile };
    expect(await list(verified)).toMatchObject({ status: 0 });
    for (const DB_SSLMODE of ['verify-full', 'require']) {
      const { status, stderr } = await list({ ...verified, DB_SSLMODE, DB_PORT: String(between.port) });
      expect({ status, stderr }).toEqual({
        status: 1,
        stderr: expect.stringContaining("No trusted CA signed PostgreSQL's certificate"),
      });
    }
  });

  it('gets no login out of it where nothing is verified: SCRAM is tied to the certificate that the client saw', async () => {
    expect(await list({ DB_SSLMODE: 'require' })).toMatchObject({ status: 0 });
    const before = between.intercepted;
    const { status, stderr } = await list({ DB_SSLMODE: 'require', DB_PORT: String(between.port) });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringContaining('PostgreSQL does not let this user in'),
    });
    expect(between.intercepted).toBe(before + 1);
  });
});
