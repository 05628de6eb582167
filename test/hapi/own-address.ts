// Where the tests that start a HAPI of their own will find it: an address that stays the same from one start to the next.

import type { TestProject } from 'vitest/node';
import { freePort } from '../../demo/ports.ts';
import { hapiCommands } from './own-hapi-process.ts';

/** Chooses the address before all test files, and returns what stops a HAPI that a failed test has left there. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const port = await freePort(Number(process.env.HAPI_PORT ?? 0));
  project.provide('fhir', `http://127.0.0.1:${port}/fhir`);
  project.provide('staleIfMatch', 409);
  project.provide('keepsUnchanged', true);
  const commands = hapiCommands();
  return async () => {
    // A container goes with testcontainers' reaper.
    await commands?.stop(port);
  };
}
