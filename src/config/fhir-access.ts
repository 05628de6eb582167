// How the configuration has the FHIR server asked: over which TLS, and with what to be let in.
import type { TokenClientConfig } from '../fhir/authorization/token-client.ts';
import { mayBeAsked } from '../fhir/http/secure-address.ts';
import type { Tls } from '../fhir/http/tls.ts';
import { asTheyAre, type Certificates, readCertificates } from './certificates.ts';
import type { FhirConfig } from './environment.ts';
import { readPrivateKey } from './private-key.ts';
import { wrong } from './read.ts';

type Authorization =
  | { readonly by: 'none' }
  | { readonly by: 'bearer'; readonly token: string }
  | {
      readonly by: 'access-tokens';
      readonly clientId: string;
      readonly authentication: TokenClientConfig['authentication'];
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

export interface FhirAccess {
  readonly authorization: Authorization;
  /** The files anew at each call, as `asTheyAre` has them. */
  readonly tls: () => Tls;
}

/** Throws a FatalError that names what does not fit together, a sentence each. */
export function fhirAccess(config: FhirConfig): FhirAccess {
  const faults = [...plainAddresses(config), ...unfitting(config)];
  const first = certificatesOf(config, faults);
  const authorization = authorizationOf(config, faults);
  if (faults.length > 0) throw wrong(faults);
  const tls = asTheyAre(first, () => {
    const now: string[] = [];
    const certificates = certificatesOf(config, now);
    if (now.length > 0) throw wrong(now);
    return certificates;
  });
  return { authorization, tls };
}

function certificatesOf({ FHIR_CA, FHIR_CERT, FHIR_KEY }: FhirConfig, faults: string[]): Certificates {
  return readCertificates(
    { ca: ['FHIR_CA', FHIR_CA], cert: ['FHIR_CERT', FHIR_CERT], key: ['FHIR_KEY', FHIR_KEY] },
    faults,
  );
}

function authorizationOf(config: FhirConfig, faults: string[]): Authorization {
  const { FHIR_TOKEN: token, FHIR_CLIENT_ID: clientId, FHIR_CLIENT_SECRET: secret, FHIR_PRIVATE_KEY: pem } = config;
  if (token !== undefined) return { by: 'bearer', token };
  if (clientId === undefined) return { by: 'none' };
  const signs = config.FHIR_AUTH === 'smart' && pem !== undefined;
  const key = signs ? signingKey(pem, config.FHIR_KEY_ID, faults) : null;
  return { by: 'access-tokens', clientId, authentication: key ?? { secret: secret ?? '' } };
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
