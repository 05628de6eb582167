// A PostgreSQL of a test's own that speaks TLS, with logins by certificate, by both, and by password alone.
import { chmod, chown, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import type { SignedCertificate } from './certificates.ts';
import { on, startServer } from './servers.ts';
import { run } from './with-client.ts';

/** The password of the logins that have one. */
export const PASSWORD = 'a test of TLS';

/** No connection of these logins comes in without TLS, for tester, who is the test, it is free. */
const HBA = `
host    all tester,postgres all scram-sha-256
hostssl all connector all cert
hostssl all doubly    all scram-sha-256 clientcert=verify-full
hostssl all encrypted all scram-sha-256
`;

export interface Credentials {
  readonly own: Pick<SignedCertificate, 'certificate' | 'key'>;
  /** PEM: who signs the clients' certificates. */
  readonly clientAuthority: string;
}

/** With the logins `connector` (by certificate), `doubly` (by both) and `encrypted` (by password), but no TLS yet. */
export async function startTlsServer(): Promise<EmbeddedPostgres> {
  const server = await startServer({ listen_addresses: '127.0.0.1,::1' });
  await writeOwned(server, 'pg_hba.conf', HBA);
  return server;
}

/** The roles can be made only where `migrate` has made theirs. */
export async function makeLogins(server: EmbeddedPostgres): Promise<void> {
  for (const [login, password] of [
    ['connector', 'NULL'],
    ['doubly', `'${PASSWORD}'`],
    ['encrypted', `'${PASSWORD}'`],
  ])
    await run(
      on(server, 'postgres'),
      `CREATE ROLE ${login} LOGIN REPLICATION PASSWORD ${password} IN ROLE fhir_connector, fhir_operator`,
    );
}

/** Restarts the server with these credentials and settings, or without TLS. */
export async function restart(
  server: EmbeddedPostgres,
  credentials: Credentials | null,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  await server.pause('fast');
  await prepare(server, credentials, settings);
  await server.start();
}

/** The same for a server that is paused. */
export async function prepare(
  server: EmbeddedPostgres,
  credentials: Credentials | null,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  if (credentials) {
    await writeOwned(server, 'server.crt', credentials.own.certificate);
    await writeOwned(server, 'server.key', credentials.own.key);
    await writeOwned(server, 'clients.crt', credentials.clientAuthority);
  }
  const all = credentials ? { ssl: 'on', ssl_ca_file: 'clients.crt', ...settings } : { ssl: 'off', ...settings };
  const lines = Object.entries(all).map(([name, value]) => `${name} = '${value}'\n`);
  await writeOwned(server, 'postgresql.auto.conf', lines.join(''));
}

/** What the server wrote, for a test that failed. */
export function logOf(server: EmbeddedPostgres): Promise<string> {
  return readFile(join(server.home, 'log'), 'utf8');
}

async function writeOwned(server: EmbeddedPostgres, name: string, content: string): Promise<void> {
  const file = join(server.dataDir, name);
  const { uid, gid } = await stat(server.dataDir);
  await writeFile(file, content);
  await chmod(file, 0o600);
  await chown(file, uid, gid);
}
