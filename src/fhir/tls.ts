// TLS to the FHIR server and to its authorization server: whom to trust, and who we are.
// https://nodejs.org/api/tls.html#tlscreatesecurecontextoptions

import { getCACertificates } from 'node:tls';
import type { buildConnector } from 'undici';

/** In PEM; undefined where nothing was configured. */
export interface Tls {
  /** Certificates of CAs, in place of those that Node trusts by default. */
  readonly ca?: string | undefined;
  /** Ours, with those that lead to its CA, and its key: for a server that demands one (mTLS). */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

export function connectOptions(
  { ca, cert, key }: Tls,
  timeoutMs: number,
  trusted: 'these alone' | 'also the well-known',
): buildConnector.BuildOptions {
  const authorities = ca === undefined || trusted === 'these alone' ? ca : [...getCACertificates('default'), ca];
  return {
    timeout: timeoutMs,
    ...(authorities !== undefined && { ca: authorities }),
    ...(cert !== undefined && { cert, key }),
  };
}
