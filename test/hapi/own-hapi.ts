// A HAPI FHIR server of a test's own, at one address: stopped or killed, and started again on the same data or on others.

import { getContainerRuntimeClient } from 'testcontainers';
import { inject, vi } from 'vitest';
import { freePort } from '../../demo/ports.ts';
import { hapiContainer } from './hapi-server.ts';
import type { HapiDatabase } from './own-hapi-database.ts';
import { hapiCommands } from './own-hapi-process.ts';

interface HapiSettings {
  /** By default H2 in memory, which is empty at each start. */
  readonly database?: HapiDatabase;
  /** Refuse what is not valid, with 422. HAPI's default is to take it. */
  readonly validate?: boolean;
}

export interface OwnHapi {
  /** Resolves once it answers. */
  start(settings: HapiSettings): Promise<void>;
  /** Does nothing when it does not run. */
  stop(): Promise<void>;
  /** As kill -9: nothing in it hears of it. */
  kill(): Promise<void>;
}

interface Running {
  stop(): Promise<void>;
  kill(): Promise<void>;
}

/** HAPI at the address of this test run: a process where HAPI_COMMANDS names a folder, otherwise a container. */
export function ownHapi(): OwnHapi {
  const port = Number(new URL(inject('fhir')).port);
  const start = hapiCommands() === null ? inContainer : asProcess;
  let running: Running | null = null;
  return {
    async start(settings) {
      running = await start(port, settings);
    },
    async stop() {
      await running?.stop();
      running = null;
    },
    async kill() {
      await running?.kill();
      running = null;
    },
  };
}

async function asProcess(port: number, settings: HapiSettings): Promise<Running> {
  const commands = hapiCommands();
  if (commands === null) throw new Error('HAPI_COMMANDS names no folder.');
  const pid = await commands.start(port, environmentOf(settings, '127.0.0.1'));
  return {
    stop: () => commands.stop(port),
    async kill() {
      process.kill(pid, 'SIGKILL');
      // It is gone when its port is free.
      await vi.waitUntil(async () => (await freePort(port)) === port, { timeout: 30_000 });
    },
  };
}

async function inContainer(port: number, settings: HapiSettings): Promise<Running> {
  const { image, container: prepared } = hapiContainer();
  const host = 'host.docker.internal';
  try {
    const container = await prepared
      .withExposedPorts({ container: 8080, host: port })
      .withExtraHosts([{ host, ipAddress: 'host-gateway' }])
      .withEnvironment(environmentOf(settings, host))
      .start();
    const { container: engine } = await getContainerRuntimeClient();
    return {
      stop: async () => void (await container.stop({ timeout: 30_000 })),
      async kill() {
        await engine.getById(container.getId()).kill();
        await container.stop();
      },
    };
  } catch (error) {
    throw new Error(
      `No HAPI FHIR server to test with: set HAPI_COMMANDS to a folder with the commands "start PORT" and "stop PORT", or start a Docker engine that has or can pull ${image}.`,
      { cause: error },
    );
  }
}

/** `host`: under which HAPI reaches this machine. */
function environmentOf({ database, validate = false }: HapiSettings, host: string): Record<string, string> {
  return {
    // It starts in half the time, and is slower after some minutes.
    JAVA_TOOL_OPTIONS: '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC',
    HAPI_FHIR_FHIR_VERSION: 'R4',
    HAPI_FHIR_VALIDATION_REQUESTS_ENABLED: String(validate),
    ...(database && {
      SPRING_DATASOURCE_URL: `jdbc:postgresql://${host}:${database.port}/${database.name}`,
      SPRING_DATASOURCE_USERNAME: database.user,
      SPRING_DATASOURCE_PASSWORD: database.password,
      SPRING_DATASOURCE_DRIVER_CLASS_NAME: 'org.postgresql.Driver',
      SPRING_JPA_PROPERTIES_HIBERNATE_DIALECT: 'ca.uhn.fhir.jpa.model.dialect.HapiFhirPostgresDialect',
    }),
  };
}
