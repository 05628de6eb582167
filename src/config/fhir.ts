// How the configuration has the FHIR server asked: over which TLS, and with what to be let in.
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { readPrivateKey, type SigningKey } from '../fhir/authorization/private-key.ts';
import { mayBeAsked } from '../fhir/secure-address.ts';
import type { Tls } from '../fhir/tls.ts';
import type { FhirConfig } from './environment.ts';
import { readFile } from './files.ts';
import { wrong } from './read.ts';

export type Authorization =
  | { readonly by: 'none' }
  | { readonly by: 'bearer'; readonly token: string }
  | {
      readonly by: 'access-tokens';
      readonly clientId: string;
      readonly authentication:
        | { readonly secret: string }
        | { readonly key: SigningKey['key']; readonly keyId: string };
    };

type Variable = keyof FhirConfig;

/** What each way needs, and what it can use besides. */
const VARIABLES: Readonly<Record<FhirConfig['FHIR_AUTH'], { needs: readonly Variable[]; takes: readonly Variable[] }>> =
  {
    none: { needs: [], takes: [] },
    bearer: { needs: ['FHIR_TOKEN'], takes: [] },
    client_credentials: { needs: ['FHIR_TOKEN_URL', 'FHIR_CLIENT_ID', 'FHIR_CLIENT_SECRET'], takes: ['FHIR_SCOPE'] },
    smart: { needs: ['FHIR_CLIENT_ID', 'FHIR_PRIVATE_KEY'], takes: ['FHIR_TOKEN_URL', 'FHIR_KEY_ID', 'FHIR_SCOPE'] },
  };

/** Throws a FatalError that names what does not fit together, a sentence each. */
export function fhirAuthorization(config: FhirConfig): Authorization {
  const faults = [...plainAddresses(config), ...unfitting(config)];
  const { FHIR_TOKEN: token, FHIR_CLIENT_ID: clientId, FHIR_CLIENT_SECRET: secret, FHIR_PRIVATE_KEY: pem } = config;
  const signing =
    config.FHIR_AUTH === 'smart' && pem !== undefined ? signingKey(pem, config.FHIR_KEY_ID, faults) : null;
  if (faults.length > 0) throw wrong(faults);
  if (token !== undefined) return { by: 'bearer', token };
  if (clientId === undefined) return { by: 'none' };
  if (signing !== null) return { by: 'access-tokens', clientId, authentication: signing };
  return { by: 'access-tokens', clientId, authentication: { secret: secret ?? '' } };
}

function plainAddresses(config: FhirConfig): string[] {
  const { FHIR_ALLOW_HTTP, FHIR_SERVER, FHIR_TOKEN_URL } = config;
  const refused = Object.entries({ FHIR_SERVER, FHIR_TOKEN_URL }).filter(
    ([, url]) => url !== undefined && !mayBeAsked(url, FHIR_ALLOW_HTTP),
  );
  return refused.map(
    ([variable]) =>
      `${variable} is an http address of another machine: patients' data would go there unencrypted. Use https, or set FHIR_ALLOW_HTTP=true for a network of your own.`,
  );
}

function unfitting(config: FhirConfig): string[] {
  const { needs, takes } = VARIABLES[config.FHIR_AUTH];
  const all = new Set(Object.values(VARIABLES).flatMap(({ needs, takes }) => [...needs, ...takes]));
  return [...all].flatMap((variable) => {
    const isSet = config[variable] !== undefined;
    if (needs.includes(variable) && !isSet) return [`${variable} is not set: FHIR_AUTH=${config.FHIR_AUTH} needs it.`];
    if (isSet && !needs.includes(variable) && !takes.includes(variable))
      return [
        `${variable} is of no use with FHIR_AUTH=${config.FHIR_AUTH}: set FHIR_AUTH to what it is for, or leave it out.`,
      ];
    return [];
  });
}

function signingKey(text: string, given: string | undefined, faults: string[]) {
  try {
    const { key, id } = readPrivateKey(text);
    const keyId = given ?? id;
    if (keyId !== null) return { key, keyId };
    faults.push('FHIR_KEY_ID is not set, and the key in FHIR_PRIVATE_KEY has no kid of its own.');
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    faults.push(`FHIR_PRIVATE_KEY ${error.message}.`);
  }
  return null;
}

/** Throws a FatalError that names the variable whose file cannot be read, or does not hold what it must. */
export function fhirTls({ FHIR_CA, FHIR_CERT, FHIR_KEY }: FhirConfig): Tls {
  const faults: string[] = [];
  if ((FHIR_CERT === undefined) !== (FHIR_KEY === undefined))
    faults.push(
      `${FHIR_CERT === undefined ? 'FHIR_CERT' : 'FHIR_KEY'} is not set: a certificate and its key go together.`,
    );
  const ca = FHIR_CA === undefined ? undefined : readFile('FHIR_CA', FHIR_CA);
  const cert = FHIR_CERT === undefined ? undefined : readFile('FHIR_CERT', FHIR_CERT);
  const key = FHIR_KEY === undefined ? undefined : readFile('FHIR_KEY', FHIR_KEY);
  for (const [variable, pem] of Object.entries({ FHIR_CA: ca, FHIR_CERT: cert }))
    if (pem !== undefined && !isCertificate(pem)) faults.push(`${variable} names a file without a certificate in PEM.`);
  if (faults.length === 0 && cert !== undefined && !fits(cert, key))
    faults.push('FHIR_KEY names a file without the private key of FHIR_CERT in PEM, or with an encrypted one.');
  if (faults.length > 0) throw wrong(faults);
  return { ca, cert, key };
}

function isCertificate(pem: string): boolean {
  return isTaken(() => new X509Certificate(pem));
}

function fits(cert: string, key: string | undefined): boolean {
  return isTaken(() => createSecureContext({ cert, key }));
}

function isTaken(use: () => unknown): boolean {
  try {
    use();
    return true;
  } catch {
    return false;
  }
}
