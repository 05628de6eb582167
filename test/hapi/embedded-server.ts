// The embedded FHIR server in HAPI's place, for what the connector must do the same on both.

import type { TestProject } from 'vitest/node';
import { startFhirServer } from '../../demo/fhir-server.ts';

/** Starts it before all test files and returns what stops it after them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { url, close } = await startFhirServer();
  project.provide('fhir', url);
  project.provide('staleIfMatch', 412);
  project.provide('keepsUnchanged', false);
  return close;
}
