// The connector with a PostgreSQL that lets nobody in without TLS and a client certificate: all its connections, and renewed certificates.
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { runCommand } from '../support/command.ts';
import { type ConnectorProcess, type DatabaseTarget, spawnConnector } from '../support/connector.ts';
import { linesWith } from '../support/connector-state.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { Hospital } from '../support/hospital.ts';
import { PATIENCE } from '../support/patience.ts';
import { type Credentials, logOf, makeLogins, prepare, restart, startTlsServer } from '../support/postgres-tls.ts';
import { migrated, on } from '../support/servers.ts';
import { ask } from '../support/with-client.ts';

let server: EmbeddedPostgres;
let database: DatabaseTarget;
let fhir: FhirLedger;
let authority: CertificateAuthority;
let next: CertificateAuthority;
let folder: string;
let connector: ConnectorProcess;
const hospital = new Hospital(50);

beforeAll(async () => {
  server = await startTlsServer();
  database = await migrated(server, 'hospital');
  await makeLogins(server);
  fhir = await FhirLedger.start();
  [authority, next] = await Promise.all([CertificateAuthority.make(), CertificateAuthority.make('The next')]);
  folder = await mkdtemp(join(tmpdir(), 'mounted-'));
  await mount(authority);
  await restart(server, await credentials(authority), { log_connections: 'on' });
  connector = spawnConnector(environment(), 'run');
});

afterAll(async () => {
  connector.child.kill('SIGKILL');
  await fhir.stop();
  await server.stop('immediate');
  await Promise.all([authority.remove(), next.remove(), rm(folder, { recursive: true })]);
});

async function credentials(signer: CertificateAuthority): Promise<Credentials> {
  return { own: await signer.server({ dns: ['localhost'] }), clientAuthority: signer.certificate };
}

const mounted = (name: string) => join(folder, name);

/** Replaces the connector's files, as whoever renews certificates does. */
async function mount(signer: CertificateAuthority): Promise<void> {
  const own = await signer.client('connector');
  await copyFile(signer.certificateFile, mounted('ca.crt'));
  await copyFile(own.certificateFile, mounted('tls.crt'));
  await copyFile(own.keyFile, mounted('tls.key'));
}

/** No password, and no DB_SSLMODE. */
function environment(): Record<string, string> {
  return {
    DB_HOST: 'localhost',
    DB_PORT: String(server.port),
    DB_NAME: 'hospital',
    DB_USER: 'connector',
    DB_SSLROOTCERT: mounted('ca.crt'),
    DB_SSLCERT: mounted('tls.crt'),
    DB_SSLKEY: mounted('tls.key'),
    FHIR_SERVER: fhir.url,
    METRICS_HOST: '127.0.0.1',
    METRICS_PORT: '0',
  };
}

it('a change goes all the way without a password', async () => {
  await hospital.open(database);
  await hospital.change(database);
  await hospital.expectDelivered(database, fhir);
});

it.each(['doctor', 'status', 'dlq list', 'backfill', 'verify'])('%s comes in by the certificate', async (command) => {
  const { status, stderr } = await runCommand(environment(), ...command.split(' '));
  expect([status, stderr]).toEqual([0, expect.any(String)]);
});

it('migrate has TLS too', async () => {
  const { user: DB_USER, password: DB_PASSWORD } = database.config;
  expect(await runCommand({ ...environment(), DB_USER, DB_PASSWORD }, 'migrate')).toMatchObject({ status: 0 });
});

describe('of all connections', () => {
  it('those of the connector have TLS and its certificate, the replication connection among them', async () => {
    const connections = await ask<{ replication: boolean; ssl: boolean; client_dn: string; version: string }>(
      database,
      `SELECT backend_type = 'walsender' AS replication, ssl, client_dn, version
         FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename = 'connector'`,
    );
    expect(new Set(connections.map(({ replication }) => replication))).toEqual(new Set([true, false]));
    for (const one of connections)
      expect(one).toMatchObject({ ssl: true, client_dn: '/CN=connector', version: 'TLSv1.3' });
  });

  it('there was never one without, of any command', async () => {
    const lines = (await logOf(server)).split('\n').filter((line) => line.includes('connection authorized: user='));
    const ours = lines.filter((line) => /user=connector |application_name=fhir-connector/.test(line));
    for (const name of ['records', 'doctor', 'status', 'dlq', 'backfill', 'verify', 'migrate'])
      expect(ours.join('\n')).toContain(`application_name=fhir-connector ${name} `);
    expect(ours.join('\n')).toContain('replication connection authorized: user=connector ');
    expect(ours.filter((line) => !line.includes('SSL enabled (protocol=TLSv1.3'))).toEqual([]);
  });
});

describe('a certificate that is renewed', () => {
  it('on the server, by the same CA, is nothing to the connector', async () => {
    await restart(server, await credentials(authority));
    await hospital.change(database);
    await hospital.expectDelivered(database, fhir);
  });

  it('on the server, by a CA that the connector does not know, is waited for; renewed files serve without a restart', async () => {
    await server.pause('fast');
    await prepare(server, await credentials(next));
    await server.start();
    await expect
      .poll(() => linesWith(connector, "No trusted CA signed PostgreSQL's certificate").length, PATIENCE)
      .toBeGreaterThan(1);
    expect(connector.child.exitCode).toBe(null);
    await mount(next);
    await hospital.change(on(server, 'hospital'));
    await hospital.expectDelivered(database, fhir);
    connector.child.kill('SIGTERM');
    expect(await connector.exited).toBe(0);
  });
});
