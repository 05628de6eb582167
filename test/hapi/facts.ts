// What the tests of facts share: Patients with an identifier system of their own, and the plain requests about them.
import { randomUUID } from 'node:crypto';
import { type Answer, ask, byIdentifier, type Patient } from './fhir-server.ts';

export interface Outcome {
  resourceType: 'OperationOutcome';
  issue: { diagnostics: string }[];
}

/** The server keeps what earlier tests left there, so each file has a system that nobody else uses. */
export const SYSTEM = `urn:uuid:${randomUUID()}`;

export const patient = (value: string, more: Partial<Patient> = {}): Patient => ({
  resourceType: 'Patient',
  identifier: [{ system: SYSTEM, value }],
  gender: 'female',
  ...more,
});

/** `PUT Patient?identifier=…`, of a body that has this identifier or, on purpose, another one. */
export const putBy = <T = Patient>(
  value: string,
  body: Patient = patient(value),
  headers: Record<string, string> = {},
): Promise<Answer<T>> => ask<T>('PUT', byIdentifier(SYSTEM, value), body, headers);

/** `PUT Patient/[id]` */
export const putAt = <T = Patient>(
  id: string,
  body: Patient,
  headers: Record<string, string> = {},
): Promise<Answer<T>> => ask<T>('PUT', `Patient/${id}`, { ...body, id }, headers);

/** Creates a Patient with this identifier and returns its id. */
export async function created(value: string): Promise<string> {
  const { status, body } = await putBy(value);
  if (status !== 201 || body.id === undefined) throw new Error(`The Patient was not created: HTTP ${status}.`);
  return body.id;
}

export const diagnosticsOf = ({ body }: Answer<Outcome>): string => body.issue[0]?.diagnostics ?? '';
