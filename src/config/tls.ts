// TLS to PostgreSQL: whether there is any, what is verified, and the files with certificates and key, as libpq has them.
// https://www.postgresql.org/docs/current/libpq-ssl.html
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { type ConnectionOptions, createSecureContext } from 'node:tls';
import { FatalError } from '../fatal.ts';
import type { ClientConfig } from '../postgres-client.ts';
import type { DatabaseConfig } from './environment.ts';
import { readFile } from './files.ts';

type Variable = 'DB_SSLROOTCERT' | 'DB_SSLCERT' | 'DB_SSLKEY';

const FILES: readonly Variable[] = ['DB_SSLROOTCERT', 'DB_SSLCERT', 'DB_SSLKEY'];
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;
const ENCRYPTED = /^-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m;

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
  let options = readOptions(config, mode);
  return {
    // For whoever knows pg's options only: never without TLS where there should be some.
    ssl: options,
    tls: () => {
      try {
        options = readOptions(config, mode);
      } catch (error) {
        if (!(error instanceof FatalError)) throw error;
      }
      return options;
    },
    // The name tells who answers. Where it is not verified, SCRAM tells when somebody in between passes the login on.
    enableChannelBinding: mode === 'require',
  };
}

/** Whoever names a file for TLS wants it, on this machine too. */
function modeOf(config: DatabaseConfig): 'disable' | 'require' | 'verify-full' {
  if (config.DB_SSLMODE) return config.DB_SSLMODE;
  const local = config.DB_HOST.every(isLocal) && FILES.every((variable) => config[variable] === undefined);
  return local ? 'disable' : 'verify-full';
}

function isLocal(host: string): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || /^127\./.test(host);
}

function readOptions(config: DatabaseConfig, mode: 'require' | 'verify-full'): ConnectionOptions {
  const faults: string[] = [];
  const read = (variable: Variable): string | undefined => {
    const path = config[variable];
    try {
      return path === undefined ? undefined : readFile(variable, path);
    } catch (error) {
      faults.push((error as FatalError).message);
      return undefined;
    }
  };
  const [ca, cert, key] = [read('DB_SSLROOTCERT'), read('DB_SSLCERT'), read('DB_SSLKEY')];
  if (ca !== undefined && !certificates(ca))
    faults.push('The file that DB_SSLROOTCERT names holds no CA certificate as PEM, or one that is damaged.');
  faults.push(...clientFaults(config, cert, key));
  const options: ConnectionOptions = {
    // libpq, too, verifies the CA with `require` where it is given one.
    rejectUnauthorized: mode === 'verify-full' || ca !== undefined,
    ...(mode === 'require' && ca !== undefined && { checkServerIdentity: () => undefined }),
    minVersion: 'TLSv1.2',
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert, key }),
  };
  if (faults.length === 0) faults.push(...unusable(options));
  if (faults.length > 0) throw wrong(faults);
  return options;
}

/** What is wrong with the client's certificate and key. A file that could not be read is not told again. */
function clientFaults(config: DatabaseConfig, cert: string | undefined, key: string | undefined): string[] {
  const { DB_SSLCERT, DB_SSLKEY } = config;
  if (DB_SSLCERT !== undefined && DB_SSLKEY === undefined)
    return ['DB_SSLCERT is set and DB_SSLKEY is not: set both, a certificate is worth nothing without its key.'];
  if (DB_SSLCERT === undefined && DB_SSLKEY !== undefined)
    return ['DB_SSLKEY is set and DB_SSLCERT is not: set both, a key is worth nothing without its certificate.'];
  const faults: string[] = [];
  const [own] = (cert === undefined ? undefined : certificates(cert)) ?? [];
  if (cert !== undefined && !own)
    faults.push('The file that DB_SSLCERT names holds no certificate as PEM, or one that is damaged.');
  const parsed = key === undefined ? undefined : privateKey(key);
  if (typeof parsed === 'string') faults.push(parsed);
  else if (own && parsed && !own.checkPrivateKey(parsed))
    faults.push(
      'The key in DB_SSLKEY does not belong to the certificate in DB_SSLCERT: the first one there must be that of the key.',
    );
  return faults;
}

/** At least one, and all that are there; null where not. */
function certificates(pem: string): X509Certificate[] | null {
  try {
    const all = (pem.match(CERTIFICATE) ?? []).map((one) => new X509Certificate(one));
    return all.length > 0 ? all : null;
  } catch {
    return null;
  }
}

/** The key, or what is wrong with it. */
function privateKey(pem: string): KeyObject | string {
  if (ENCRYPTED.test(pem))
    return 'The key in DB_SSLKEY is encrypted: it must be without passphrase, in a file that only the connector can read.';
  try {
    return createPrivateKey(pem);
  } catch {
    return 'The file that DB_SSLKEY names holds no private key as PEM.';
  }
}

/** OpenSSL refuses keys that are too short, for instance. */
function unusable(options: ConnectionOptions): string[] {
  try {
    createSecureContext(options);
    return [];
  } catch (error) {
    const { code = 'no code' } = error as NodeJS.ErrnoException;
    return [
      `OpenSSL does not take the certificates and the key of DB_SSLROOTCERT, DB_SSLCERT and DB_SSLKEY (${code}).`,
    ];
  }
}

function wrong(faults: readonly string[]): FatalError {
  return new FatalError(`The configuration is wrong:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`);
}
