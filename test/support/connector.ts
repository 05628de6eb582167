// The connector for a test: the real pipeline in this process, or the real command in a child that can be killed.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import pino from 'pino';
import { createFhirClient } from '../../src/fhir/client/create-client.ts';
import { createMetrics, type Metrics } from '../../src/metrics/metrics.ts';
import type { DeliverySettings } from '../../src/outbox/engine.ts';
import { openDatabase } from '../../src/outbox/tables/database.ts';
import { runPipeline } from '../../src/pipeline.ts';
import { mustBe } from '../../src/replication/server/known-server.ts';
import { nameOf, type Shard, WHOLE } from '../../src/shard.ts';

export interface DatabaseTarget {
  readonly name: string;
  readonly config: { host: string; port: number; user: string; password: string; database: string };
  /** A login with the role fhir_connector and REPLICATION, and no right beside; the connector is then started with it. */
  readonly connector?: { readonly user: string; readonly password: string };
}

export type LogLine = Record<string, unknown> & { msg: string };

export interface RunningConnector {
  readonly metrics: Metrics;
  readonly log: LogLine[];
  readonly slot: string;
  /** Resolves when the pipeline has ended; rejects with what ended it. */
  readonly done: Promise<void>;
  stop(): Promise<void>;
}

export interface ConnectorOptions extends Partial<DeliverySettings> {
  readonly shard?: Shard;
  readonly resources?: readonly string[];
  readonly retentionDays?: number;
  readonly timeoutMs?: number;
  readonly shutdownTimeoutMs?: number;
}

/** A slot's name is one for the whole server, so each test database has its own. */
export function slotOf(database: Pick<DatabaseTarget, 'name'>): string {
  return `slot_${database.name}`;
}

/** Starts the pipeline in this process. It ends with `stop`, or by itself with an error that `done` rejects with. */
export function startConnector(
  database: DatabaseTarget,
  fhirUrl: string,
  options: ConnectorOptions = {},
): RunningConnector {
  const {
    timeoutMs = 10_000,
    shutdownTimeoutMs = 10_000,
    retentionDays = 0,
    shard = WHOLE,
    resources = ['Patient'],
    ...outbox
  } = options;
  const lines: LogLine[] = [];
  const log = pino(
    { level: 'debug' },
    new Writable({
      write(chunk: Buffer, _, done) {
        lines.push(JSON.parse(chunk.toString()));
        done();
      },
    }),
  );
  const metrics = createMetrics();
  const settings = {
    concurrency: 16,
    batchSize: 1,
    maxRetries: 5,
    profile: 'us-core',
    update: 'by-id',
    deletes: 'deactivate',
    ...outbox,
  } as const;
  const fhir = createFhirClient(
    {
      baseUrl: fhirUrl,
      concurrency: settings.concurrency,
      batchSize: settings.batchSize,
      timeoutMs,
      userAgent: 'fhir-connector/test',
    },
    ({ outcome, puts }) => {
      if (puts !== undefined) metrics.bundlePatients.observe(puts);
      if (outcome !== 'ok') metrics.callErrors.inc({ code: outcome });
    },
  );
  const stopping = new AbortController();
  const slot = slotOf(database);
  const client = { ...database.config, ...database.connector };
  const done = runPipeline(
    {
      slot: { config: client, shard, slotBase: slot, publicationBase: 'fhir_outbox_pub' },
      resources,
      outbox: settings,
      shutdownTimeoutMs,
      retentionDays,
      openDatabase: (server) => openDatabase(client, log, (connection) => mustBe(server, connection)),
      fhir,
      metrics,
      log,
    },
    stopping.signal,
  ).finally(() => fhir.close());
  done.catch(() => undefined);
  return {
    metrics,
    log: lines,
    slot: nameOf(slot, shard),
    done,
    stop() {
      stopping.abort(new Error('The test stops the connector.'));
      return done;
    },
  };
}

export interface ConnectorProcess {
  readonly child: ChildProcess;
  readonly log: LogLine[];
  readonly stderr: string[];
  /** Exit status, or null when a signal ended it. */
  readonly exited: Promise<number | null>;
}

export function connectorEnvironment(database: DatabaseTarget, fhirUrl: string): Record<string, string> {
  const { host, port, user, password, database: name } = database.config;
  return {
    DB_HOST: host,
    DB_PORT: String(port),
    DB_USER: user,
    DB_PASSWORD: password,
    DB_NAME: name,
    DB_SSLMODE: 'disable',
    FHIR_SERVER: fhirUrl,
    SLOT_NAME: slotOf(database),
    METRICS_HOST: '127.0.0.1',
    METRICS_PORT: '0',
  };
}

/** Runs the command as users do, with exactly these variables. */
export function spawnConnector(environment: Record<string, string>, ...args: string[]): ConnectorProcess {
  const child = spawn(process.execPath, ['src/main.ts', ...args], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log: LogLine[] = [];
  const stderr: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) =>
    log.push(line.startsWith('{') ? (JSON.parse(line) as LogLine) : { msg: line }),
  );
  createInterface({ input: child.stderr }).on('line', (line) => stderr.push(line));
  // 'close', not 'exit': only then has everything that it wrote been read.
  return { child, log, stderr, exited: once(child, 'close').then(([status]) => status as number | null) };
}
