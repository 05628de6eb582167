// What a scenario starts with: a database, a FHIR server that counts, and between them the connector, streaming.
import { type ConnectorOptions, type RunningConnector, startConnector } from './connector.ts';
import { streaming } from './connector-state.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { FhirLedger } from './fhir-ledger.ts';
import { FhirSink } from './fhir-sink.ts';

interface Started {
  readonly database: TestDatabase;
  readonly connector: RunningConnector;
  end(): Promise<void>;
}

export interface Scenario extends Started {
  readonly sink: FhirSink;
}

export async function startScenario(options: ConnectorOptions = {}): Promise<Scenario> {
  const sink = await FhirSink.start();
  return { sink, ...(await startBefore(sink, options)) };
}

/** The same with a FHIR server that keeps a ledger and has faults. */
export interface LedgerScenario extends Started {
  readonly fhir: FhirLedger;
}

export async function startLedgerScenario(
  options: ConnectorOptions = {},
  resources?: readonly string[],
): Promise<LedgerScenario> {
  const fhir = await FhirLedger.start();
  return { fhir, ...(await startBefore(fhir, options, resources)) };
}

/** A database and a connector that streams to this server. */
async function startBefore(
  server: { readonly url: string; stop(): Promise<void> },
  options: ConnectorOptions,
  resources?: readonly string[],
): Promise<Started> {
  const database = await createDatabase('migrated', resources);
  const connector = startConnector(database, server.url, options);
  await streaming(connector);
  return {
    database,
    connector,
    async end() {
      await connector.stop();
      await database.drop();
      await server.stop();
    },
  };
}
