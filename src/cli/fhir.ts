// The FHIR client of a command, as the configuration has it.
import packageJson from '../../package.json' with { type: 'json' };
import type { FhirConfig } from '../config/environment.ts';
import { createFhirClient, type FhirClient, type FhirClientConfig } from '../fhir/client.ts';

/** `onCall` is told of every request when it has ended. `bundles`: for PUTs that go together. */
export function openFhirClient(
  config: FhirConfig,
  onCall: Parameters<typeof createFhirClient>[1] = () => undefined,
  bundles: Pick<FhirClientConfig, 'batchSize' | 'onSmallerBundles'> = {},
): FhirClient {
  return createFhirClient(
    {
      baseUrl: config.FHIR_SERVER,
      concurrency: config.FHIR_CONCURRENCY,
      timeoutMs: config.FHIR_TIMEOUT_MS,
      userAgent: `${packageJson.name}/${packageJson.version}`,
      ...bundles,
    },
    onCall,
  );
}
