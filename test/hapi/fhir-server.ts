// What a test asks of the FHIR server directly, past the connector: reads, history, and edits by somebody else.

import { inject } from 'vitest';

export interface Patient {
  resourceType: 'Patient';
  id?: string;
  meta?: { versionId: string; source?: string; profile?: string[] };
  active?: boolean;
  identifier?: { type?: { coding: { code: string }[] }; system?: string; value: string }[];
  name?: { family?: string; given?: string[]; text?: string }[];
  telecom?: { system: string; value: string }[];
  [element: string]: unknown;
}

export const fhirUrl = (): string => inject('fhir');

export const readPatient = (id: string): Promise<Patient> => request<Patient>('GET', `Patient/${id}`);

export const createPatient = (patient: Patient): Promise<Patient> => request<Patient>('POST', 'Patient', patient);

/** As an application would that knows nothing of the connector: without If-Match. */
export const editPatient = (patient: Patient): Promise<Patient> =>
  request<Patient>('PUT', `Patient/${patient.id}`, patient);

export const deletePatient = (id: string): Promise<unknown> => request('DELETE', `Patient/${id}`);

/** The versions of a resource, oldest first; null is one that a DELETE made. */
export const versionsOf = async (id: string): Promise<(Patient | null)[]> =>
  (await historyOf(id)).map(({ resource }) => resource ?? null);

/** What each version of a resource has as its first telecom, oldest first. */
export const phonesOf = async (id: string): Promise<(string | undefined)[]> =>
  (await versionsOf(id)).map((patient) => patient?.telecom?.[0]?.value);

/** Their numbers, as HAPI gave them. */
export const versionIdsOf = async (id: string): Promise<string[]> =>
  (await historyOf(id)).map(({ response }) => response.etag.replace(/^W\/"(.+)"$/, '$1'));

interface HistoryEntry {
  resource?: Patient;
  response: { etag: string };
}

async function historyOf(id: string): Promise<HistoryEntry[]> {
  // Without an offset HAPI gives as many as there were a minute ago, and leaves out the oldest ones:
  // https://hapifhir.io/hapi-fhir/apidocs/hapi-fhir-storage/ca/uhn/fhir/jpa/api/config/JpaStorageSettings.html , HistoryCountMode
  const path = `Patient/${id}/_history?_count=200&_offset=0`;
  const { entry = [] } = await request<{ entry?: HistoryEntry[] }>('GET', path);
  return entry.toReversed();
}

/** The query that a conditional PUT and a search go by. */
export const byIdentifier = (system: string, value: string): string =>
  `Patient?identifier=${encodeURIComponent(`${system}|${value}`)}`;

/** The living resources that hold this identifier. */
export async function patientsWith(system: string, value: string): Promise<Patient[]> {
  const { entry = [] } = await request<{ entry?: { resource: Patient }[] }>('GET', byIdentifier(system, value));
  return entry.map(({ resource }) => resource);
}

async function request<T>(method: string, path: string, body?: Patient): Promise<T> {
  const answer = await ask<T>(method, path, body, { prefer: 'return=representation' });
  if (answer.status >= 300)
    throw new Error(`${method} ${path} got HTTP ${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

export interface Answer<T> {
  readonly status: number;
  readonly headers: Headers;
  /** Null when there is none. */
  readonly body: T;
}

/** One request as plain HTTP, whatever the answer is. */
export async function ask<T = unknown>(
  method: string,
  path: string,
  body?: object,
  headers: Record<string, string> = {},
): Promise<Answer<T>> {
  const response = await fetch(`${fhirUrl()}/${path}`, {
    method,
    headers: {
      accept: 'application/fhir+json',
      'content-type': 'application/fhir+json',
      // HAPI would answer a search from one of the last minute: https://hapifhir.io/hapi-fhir/docs/server_jpa/configuration.html
      'cache-control': 'no-cache',
      ...headers,
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: (text === '' ? null : JSON.parse(text)) as T };
}
