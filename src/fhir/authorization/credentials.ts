// What a request shows to be let in: nothing, a token that somebody chose, or one that an authorization server gives out.

import type { Failure } from '../faults/fault.ts';

/** The value of an Authorization header, or why there is none. */
export type Shown = { readonly ok: true; readonly header: string | undefined } | ({ readonly ok: false } & Failure);

export interface Credentials {
  /** For the next request. */
  header(): Promise<Shown>;
  /**
   * The FHIR server answered 401 to a request with this header: another one that it may take, or why there is none. Null
   * where it is not to be renewed, or not yet.
   */
  renewed(refused: string): Promise<Shown | null>;
  /** Breaks off what is still asked for. */
  close(): Promise<void>;
}

/** One header for good, https://www.rfc-editor.org/rfc/rfc6750#section-2.1 ; none for a server that asks for none. */
export function fixedCredentials(token: string | null): Credentials {
  const shown: Shown = { ok: true, header: token === null ? undefined : `Bearer ${token}` };
  return { header: async () => shown, renewed: async () => null, close: async () => undefined };
}
