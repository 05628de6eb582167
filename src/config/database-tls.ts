// TLS to PostgreSQL: whether there is any, what is verified, and the files with certificates and key, as libpq has them.
// https://www.postgresql.org/docs/current/libpq-ssl.html
import type { ConnectionOptions } from 'node:tls';
import { isLoopback } from '../loopback.ts';
import type { ClientConfig } from '../postgres/client.ts';
import { asTheyAre, readCertificates } from './certificates.ts';
import type { DatabaseConfig } from './environment.ts';
import { wrong } from './read.ts';

const FILES = ['DB_SSLROOTCERT', 'DB_SSLCERT', 'DB_SSLKEY'] as const;

/**
 * For PostgresClient, which asks `tls` for each new connection. That reads the files anew: a certificate that was renewed
 * in its place serves from then on. While they cannot be read or do not belong together, as in the middle of a renewal,
 * what was read before stays in use. Throws a FatalError that names every fault.
 */
export function tlsOf(config: DatabaseConfig): Pick<ClientConfig, 'ssl' | 'tls' | 'enableChannelBinding'> {
  const mode = modeOf(config);
  if (mode === 'disable') {
    const unused = FILES.filter((variable) => config[variable] !== undefined);
    if (unused.length === 0) return { ssl: false };
    throw wrong(
      unused.map((variable) => `${variable} is for TLS, and DB_SSLMODE=disable goes without: take one of them away.`),
    );
  }
  const ssl = readOptions(config, mode);
  return {
    // For whoever knows pg's options only: never without TLS where there should be some.
    ssl,
    tls: asTheyAre(ssl, () => readOptions(config, mode)),
    // The name tells who answers. Where it is not verified, SCRAM tells when somebody in between passes the login on.
    enableChannelBinding: mode === 'require',
  };
}

/** Whoever names a file for TLS wants it, on this machine too. */
function modeOf(config: DatabaseConfig): 'disable' | 'require' | 'verify-full' {
  if (config.DB_SSLMODE) return config.DB_SSLMODE;
  const local =
    config.DB_HOST.every((host) => host.startsWith('/') || isLoopback(host)) &&
    FILES.every((variable) => config[variable] === undefined);
  return local ? 'disable' : 'verify-full';
}

function readOptions(config: DatabaseConfig, mode: 'require' | 'verify-full'): ConnectionOptions {
  const faults: string[] = [];
  const { DB_SSLROOTCERT, DB_SSLCERT, DB_SSLKEY } = config;
  const { ca, cert, key } = readCertificates(
    { ca: ['DB_SSLROOTCERT', DB_SSLROOTCERT], cert: ['DB_SSLCERT', DB_SSLCERT], key: ['DB_SSLKEY', DB_SSLKEY] },
    faults,
  );
  if (faults.length > 0) throw wrong(faults);
  return {
    // libpq, too, verifies the CA with `require` where it is given one.
    rejectUnauthorized: mode === 'verify-full' || ca !== undefined,
    ...(mode === 'require' && ca !== undefined && { checkServerIdentity: () => undefined }),
    minVersion: 'TLSv1.2',
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert, key }),
  };
}
