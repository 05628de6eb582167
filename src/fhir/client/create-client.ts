// The FHIR client of a configuration: plain, or with PUTs gathered in Bundles.

import { type Credentials, fixedCredentials } from '../authorization/credentials.ts';
import type { Tls } from '../http/tls.ts';
import { BundleLimit } from './bundle-limit.ts';
import { BundlingFhirClient } from './bundling-client.ts';
import type { FhirClient, Observe } from './fhir-client.ts';
import { PlainFhirClient } from './plain-client.ts';
import { Transport } from './transport.ts';

export interface FhirClientConfig {
  /** Of the FHIR server, as https://fhir.example.com/fhir . */
  baseUrl: string;
  /** Requests at once, each on a connection of its own; a Bundle is one. */
  concurrency: number;
  /** PUTs that go in one transaction Bundle at most; 1, or none, for each in a request of its own. */
  batchSize?: number;
  /** For each request as a whole, until the last byte of its answer. */
  timeoutMs: number;
  userAgent: string;
  /** Asked for each connection; none: as Node has it. */
  tls?: () => Tls;
  /** None: the server lets everybody in. */
  credentials?: Credentials;
  /** The server takes no larger Bundles than of so many PUTs: from now on none is. */
  onSmallerBundles?: (size: number) => void;
}

/** A client for one server. Nothing is sent before the first call. `observe` is told of every request when it has ended. */
export function createFhirClient(config: FhirClientConfig, observe: Observe): FhirClient {
  const { concurrency, batchSize = 1, onSmallerBundles = () => undefined, ...rest } = config;
  const { tls = () => ({}), credentials = fixedCredentials(null) } = config;
  const transport = new Transport({ ...rest, tls, credentials, connections: concurrency });
  const plain = new PlainFhirClient(transport, config.baseUrl, observe);
  if (batchSize === 1) return plain;
  return new BundlingFhirClient(plain, concurrency, new BundleLimit(batchSize, onSmallerBundles));
}
