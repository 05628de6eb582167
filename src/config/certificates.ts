// The files with certificates and a key that variables name: read, and held to what they must be.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { FatalError } from '../fatal.ts';
import { isEncrypted } from './private-key.ts';
import { readFile } from './read.ts';

/** As PEM; undefined where no file was named. */
export interface Certificates {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/** A variable, and the path in it. */
export type Named = readonly [variable: string, path: string | undefined];

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** Adds to `faults` what is wrong, a sentence each, by the variables and never by the paths. */
export function readCertificates(named: Record<keyof Certificates, Named>, faults: string[]): Certificates {
  const before = faults.length;
  const read = ([variable, path]: Named): string | undefined => {
    try {
      return path === undefined ? undefined : readFile(variable, path);
    } catch (error) {
      faults.push((error as FatalError).message);
      return undefined;
    }
  };
  const [ca, cert, key] = [read(named.ca), read(named.cert), read(named.key)];
  if (ca !== undefined && !certificates(ca))
    faults.push(`The file that ${named.ca[0]} names holds no CA certificate as PEM, or one that is damaged.`);
  faults.push(...clientFaults(named.cert, named.key, cert, key));
  if (faults.length === before) faults.push(...unusable(named, { ca, cert, key }));
  return { ca, cert, key };
}

/**
 * What `read` gives at each call. While it throws a FatalError, as in the middle of a renewal of the files, what it gave
 * before; that was `first`.
 */
export function asTheyAre<T>(first: T, read: () => T): () => T {
  let last = first;
  return () => {
    try {
      last = read();
    } catch (error) {
      if (!(error instanceof FatalError)) throw error;
    }
    return last;
  };
}

/** What is wrong with the client's certificate and key. A file that could not be read is not told again. */
function clientFaults(
  [certVariable, certPath]: Named,
  [keyVariable, keyPath]: Named,
  cert: string | undefined,
  key: string | undefined,
): string[] {
  if (certPath !== undefined && keyPath === undefined)
    return [
      `${certVariable} is set and ${keyVariable} is not: set both, a certificate is worth nothing without its key.`,
    ];
  if (certPath === undefined && keyPath !== undefined)
    return [
      `${keyVariable} is set and ${certVariable} is not: set both, a key is worth nothing without its certificate.`,
    ];
  const faults: string[] = [];
  const [own] = (cert === undefined ? undefined : certificates(cert)) ?? [];
  if (cert !== undefined && !own)
    faults.push(`The file that ${certVariable} names holds no certificate as PEM, or one that is damaged.`);
  const parsed = key === undefined ? undefined : privateKey(keyVariable, key);
  if (typeof parsed === 'string') faults.push(parsed);
  else if (own && parsed && !own.checkPrivateKey(parsed))
    faults.push(
      `The key in ${keyVariable} does not belong to the certificate in ${certVariable}: the first one there must be that of the key.`,
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
function privateKey(variable: string, pem: string): KeyObject | string {
  if (isEncrypted(pem))
    return `The key in ${variable} is encrypted: it must be without passphrase, in a file that only the connector can read.`;
  try {
    return createPrivateKey(pem);
  } catch {
    return `The file that ${variable} names holds no private key as PEM.`;
  }
}

/** OpenSSL refuses keys that are too short, for instance. */
function unusable(named: Record<keyof Certificates, Named>, { ca, cert, key }: Certificates): string[] {
  try {
    createSecureContext({ ca, cert, key });
    return [];
  } catch (error) {
    const { code = 'no code' } = error as NodeJS.ErrnoException;
    const [first, second, third] = [named.ca[0], named.cert[0], named.key[0]];
    return [`OpenSSL does not take the certificates and the key of ${first}, ${second} and ${third} (${code}).`];
  }
}
