// TLS to the FHIR server and to its authorization server: whom to trust, and who we are.
// https://nodejs.org/api/tls.html#tlscreatesecurecontextoptions

import { getCACertificates } from 'node:tls';
import { buildConnector } from 'undici';

/** In PEM; undefined where nothing was configured. */
export interface Tls {
  /** Certificates of CAs, in place of those that Node trusts by default. */
  readonly ca?: string | undefined;
  /** Ours, with those that lead to its CA, and its key: for a server that demands one (mTLS). */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** Whom, of those that have signed a server's certificate: the configured CAs, or besides them those that Node trusts. */
export type Trusted = 'these alone' | 'also the well-known';

/** undici's connector, with the certificates as they are when a connection is made. */
export function connector(tls: () => Tls, timeoutMs: number, trusted: Trusted): buildConnector.connector {
  let made: { readonly by: Tls; readonly connect: buildConnector.connector } | null = null;
  return (options, callback) => {
    const now = tls();
    // It keeps TLS sessions, so it is made anew only for other certificates.
    if (made === null || now.ca !== made.by.ca || now.cert !== made.by.cert || now.key !== made.by.key)
      made = { by: now, connect: buildConnector(connectOptions(now, timeoutMs, trusted)) };
    made.connect(options, callback);
  };
}

function connectOptions({ ca, cert, key }: Tls, timeoutMs: number, trusted: Trusted): buildConnector.BuildOptions {
  const authorities = ca === undefined || trusted === 'these alone' ? ca : [...getCACertificates('default'), ca];
  return {
    timeout: timeoutMs,
    minVersion: 'TLSv1.2',
    ...(authorities !== undefined && { ca: authorities }),
    ...(cert !== undefined && { cert, key }),
  };
}
