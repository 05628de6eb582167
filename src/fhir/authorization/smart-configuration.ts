// Where a FHIR server says how its clients get in: its SMART configuration.
// https://hl7.org/fhir/smart-app-launch/conformance.html#using-well-known

import type { HttpAnswer } from '../http/dispatch.ts';

export interface SmartConfiguration {
  /** Absolute. */
  readonly tokenEndpoint: string;
  /** The server's clients ask for scopes as of version 2: system/Patient.rs instead of system/Patient.read. */
  readonly newScopes: boolean;
}

/** Null when it is none, or names no token endpoint. */
export function readSmartConfiguration(answer: HttpAnswer): SmartConfiguration | null {
  if (answer.status !== 200 || 'missing' in answer.body) return null;
  let document: { token_endpoint?: unknown; capabilities?: unknown } | null;
  try {
    document = JSON.parse(answer.body.text);
  } catch {
    return null;
  }
  const tokenEndpoint = document?.token_endpoint;
  if (typeof tokenEndpoint !== 'string' || !/^https?:\/\/[^\s@#]+$/.test(tokenEndpoint) || !URL.canParse(tokenEndpoint))
    return null;
  const { capabilities } = document ?? {};
  // A server of version 2 must say so: https://hl7.org/fhir/smart-app-launch/conformance.html#permissions
  return { tokenEndpoint, newScopes: Array.isArray(capabilities) && capabilities.includes('permission-v2') };
}

/** What a client does: `verify` reads, `run` writes, and deletes where FHIR_DELETE says so. */
export interface Access {
  readonly types: readonly string[];
  readonly writes: boolean;
  readonly deletes: boolean;
}

/** No more than that. https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html */
export function scopesFor({ types, writes, deletes }: Access, newScopes: boolean): string {
  const letters = writes ? (deletes ? 'cruds' : 'crus') : 'rs';
  const words = writes ? ['read', 'write'] : ['read'];
  const permissions = newScopes ? [letters] : words;
  return types.flatMap((type) => permissions.map((permission) => `system/${type}.${permission}`)).join(' ');
}
