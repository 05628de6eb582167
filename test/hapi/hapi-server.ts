// The one HAPI FHIR server of a test run: the one that FHIR_TEST_URL names, otherwise a container of compose's image.

import { GenericContainer, Wait } from 'testcontainers';
import type { TestProject } from 'vitest/node';
import { composeImage } from '../support/compose-image.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The FHIR base URL. */
    fhir: string;
    /** With what the server refuses a PUT by id whose If-Match is stale: HAPI with 409, where FHIR asks for 412. */
    staleIfMatch: 409 | 412;
    /** A PUT that changes nothing makes no version. */
    keepsUnchanged: boolean;
  }
}

/** Starts it before all test files and returns what stops it after them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { url, kind, stop } = named() ?? (await inContainer());
  console.log(`Tests run on ${await softwareOf(url)}, ${kind}.`);
  project.provide('fhir', url);
  project.provide('staleIfMatch', 409);
  project.provide('keepsUnchanged', true);
  return stop;
}

interface Running {
  readonly url: string;
  readonly kind: string;
  stop(): Promise<void>;
}

function named(): Running | null {
  const url = process.env.FHIR_TEST_URL;
  return url ? { url: url.replace(/\/+$/, ''), kind: 'named by FHIR_TEST_URL', stop: async () => undefined } : null;
}

/** A container of compose's image, not started yet; its port is 8080. */
export function hapiContainer(): { readonly image: string; readonly container: GenericContainer } {
  const image = composeImage('hapiproject/hapi');
  const container = new GenericContainer(image)
    // Its image has no shell that could check anything from within.
    .withWaitStrategy(Wait.forHttp('/fhir/metadata', 8080).forStatusCode(200))
    .withStartupTimeout(300_000);
  return { image, container };
}

async function inContainer(): Promise<Running> {
  const { image, container: prepared } = hapiContainer();
  try {
    const container = await prepared.withExposedPorts(8080).withEnvironment({ HAPI_FHIR_FHIR_VERSION: 'R4' }).start();
    return {
      url: `http://${container.getHost()}:${container.getMappedPort(8080)}/fhir`,
      kind: `container of ${image}`,
      stop: async () => void (await container.stop()),
    };
  } catch (error) {
    throw new Error(
      `No HAPI FHIR server to test against: set FHIR_TEST_URL to the base URL of one, or start a Docker engine that has or can pull ${image}.`,
      { cause: error },
    );
  }
}

async function softwareOf(url: string): Promise<string> {
  try {
    const response = await fetch(`${url}/metadata`, { headers: { accept: 'application/fhir+json' } });
    const { software } = (await response.json()) as { software: { name: string; version: string } };
    return `${software.name} ${software.version}`;
  } catch (error) {
    throw new Error(`What answers at ${url}/metadata is no HAPI FHIR server: check FHIR_TEST_URL.`, { cause: error });
  }
}
