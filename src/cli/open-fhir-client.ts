// The FHIR client of a command, as the configuration has it.
import packageJson from '../../package.json' with { type: 'json' };
import type { FhirConfig } from '../config/environment.ts';
import { type FhirAccess, fhirAccess } from '../config/fhir-access.ts';
import { AccessTokens } from '../fhir/authorization/access-tokens.ts';
import { type Credentials, fixedCredentials } from '../fhir/authorization/credentials.ts';
import type { Access } from '../fhir/authorization/smart-configuration.ts';
import { TokenClient } from '../fhir/authorization/token-client.ts';
import { createFhirClient, type FhirClientConfig } from '../fhir/client/create-client.ts';
import type { FhirClient, Observe } from '../fhir/client/fhir-client.ts';

/**
 * `access`: what the command does there, and so may ask for. `onCall` is told of every request when it has ended. `bundles`:
 * for PUTs that go together.
 *
 * @throws FatalError that names what is wrong with the configuration.
 */
export function openFhirClient(
  config: FhirConfig,
  access: Pick<Access, 'writes' | 'deletes'>,
  onCall: Observe = () => undefined,
  bundles: Pick<FhirClientConfig, 'batchSize' | 'onSmallerBundles'> = {},
): FhirClient {
  const entry = fhirAccess(config);
  return createFhirClient(
    {
      baseUrl: config.FHIR_SERVER,
      concurrency: config.FHIR_CONCURRENCY,
      timeoutMs: config.FHIR_TIMEOUT_MS,
      userAgent: `${packageJson.name}/${packageJson.version}`,
      tls: entry.tls,
      credentials: credentialsOf(config, access, entry),
      ...bundles,
    },
    onCall,
  );
}

function credentialsOf(
  config: FhirConfig,
  access: Pick<Access, 'writes' | 'deletes'>,
  { authorization, tls }: FhirAccess,
): Credentials {
  if (authorization.by === 'none') return fixedCredentials(null);
  if (authorization.by === 'bearer') return fixedCredentials(authorization.token);
  const { clientId, authentication } = authorization;
  const client = new TokenClient({
    clientId,
    authentication,
    tokenUrl: config.FHIR_TOKEN_URL ?? null,
    fhirServer: config.FHIR_SERVER,
    scope: config.FHIR_SCOPE ?? null,
    access: { types: config.FHIR_RESOURCES, ...access },
    tls,
    allowHttp: config.FHIR_ALLOW_HTTP,
    timeoutMs: config.FHIR_TIMEOUT_MS,
  });
  return new AccessTokens(client);
}
