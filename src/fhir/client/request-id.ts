// The id that a write carries in X-Request-Id, and that HAPI keeps in meta.source.

import { hash } from 'node:crypto';

/**
 * The first 16 hex digits of SHA-256(event key + body): a repeat of the same write has the same id, a different body
 * never has. HAPI keeps 16 characters (https://hapifhir.io/hapi-fhir/docs/server_jpa/configuration.html), so no more
 * are sent, and the id can be compared whole.
 */
export function requestId(eventKey: string, body: string): string {
  return hash('sha256', eventKey + body, 'hex').slice(0, 16);
}
