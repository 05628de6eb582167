// The world in which chaos breaks out: a PostgreSQL of its own, a FHIR server with a ledger, a proxy between them and
// four connectors, real processes, of which some stand by unless there are four shards.
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { migrate } from '../../src/schema/migrate.ts';
import { nameOf, type Shard } from '../../src/shard.ts';
import {
  type ConnectorProcess,
  connectorEnvironment,
  type LogLine,
  slotOf,
  spawnConnector,
} from '../support/connector.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

export interface World {
  readonly postgres: EmbeddedPostgres;
  /** Directly, not through the proxy; a superuser. */
  readonly config: pg.ClientConfig;
  readonly db: pg.Pool;
  readonly proxy: TcpProxy;
  readonly fhir: FhirLedger;
  readonly connectors: readonly Connector[];
  /** Of this many shards the connectors are, or become at their next start. */
  shards: number;
  stop(): Promise<void>;
}

/** A connector that is started again whenever it ends, as an orchestrator does. */
class Connector {
  readonly #environment: () => Record<string, string>;
  #wanted = false;
  /** The one that runs, or ran last. */
  process: ConnectorProcess | null = null;
  starts = 0;
  /** Ends that nobody caused: the status and what it said. */
  readonly ownEnds: string[] = [];
  /** What all its processes logged. */
  readonly lines: LogLine[] = [];

  /** `environment` is asked at each start. */
  constructor(environment: () => Record<string, string>) {
    this.#environment = environment;
  }

  start(): void {
    this.#wanted = true;
    this.starts += 1;
    const started = spawnConnector(this.#environment());
    this.process = started;
    const { child } = started;
    void started.exited.then((status) => {
      this.lines.push(...started.log);
      if (child.signalCode === null && status !== 0)
        this.ownEnds.push(`status ${status}: ${started.stderr.join(' ').slice(0, 500)}`);
      if (this.#wanted && this.process === started) this.start();
    });
  }

  /** 1 when there was a process to send it to, otherwise 0. */
  signal(signal: NodeJS.Signals): number {
    return this.process?.child.kill(signal) ? 1 : 0;
  }

  /** Ends it for good, or until the next `start`. */
  async stop(signal: NodeJS.Signals): Promise<number | null> {
    this.#wanted = false;
    const ending = this.process;
    ending?.child.kill(signal);
    return (await ending?.exited) ?? null;
  }
}

const CONNECTORS = 4;
const TARGET = 'chaos';

/** The base is what the connectors are given as SLOT_NAME. */
const SLOT = slotOf({ name: TARGET });
const PUBLICATION = 'fhir_outbox_pub';

export function shardsOf({
  shards: count,
}: Pick<World, 'shards'>): readonly (Shard & { slot: string; publication: string })[] {
  return Array.from({ length: count }, (_, index) => ({
    index,
    count,
    slot: nameOf(SLOT, { index, count }),
    publication: nameOf(PUBLICATION, { index, count }),
  }));
}

export async function createWorld(deletes: 'deactivate' | 'delete', batchSize: number, shards: number): Promise<World> {
  const postgres = await startEmbeddedPostgres({
    fsync: false,
    settings: {
      max_wal_size: '64MB',
      min_wal_size: '32MB',
      max_replication_slots: '20',
      checkpoint_timeout: '30s',
      autovacuum_naptime: '5s',
    },
  });
  const { host, port, user, password } = postgres;
  const config = { host, port, user, password, database: 'postgres' };
  const db = new pg.Pool({ ...config, max: 6 });
  // Idle connections that a fault breaks; the next query opens another.
  db.on('error', () => undefined);
  const client = await db.connect();
  await migrate(client, { sample: false, resources: ['Patient', 'Encounter', 'Observation'] });
  client.release();
  const proxy = await TcpProxy.start(host, port);
  const fhir = await FhirLedger.start();
  const target = { name: TARGET, config: { ...config, port: proxy.port } };
  const environment = {
    ...connectorEnvironment(target, fhir.url),
    FHIR_TIMEOUT_MS: '1000',
    FHIR_CONCURRENCY: batchSize > 1 ? '2' : '16',
    FHIR_BATCH_SIZE: String(batchSize),
    FHIR_DELETE: deletes,
    SHUTDOWN_TIMEOUT_MS: '5000',
  };
  const connectors: readonly Connector[] = Array.from(
    { length: CONNECTORS },
    (_, number) =>
      new Connector(() => ({
        ...environment,
        WORKER_ID: `worker-${number}`,
        SHARD_COUNT: String(world.shards),
        SHARD_INDEX: String(number % world.shards),
      })),
  );
  const world: World = {
    postgres,
    config,
    db,
    proxy,
    fhir,
    connectors,
    shards,
    async stop() {
      await Promise.all(connectors.map((connector) => connector.stop('SIGKILL')));
      await db.end();
      await proxy.stop();
      await fhir.stop();
      await postgres.stop('immediate');
    },
  };
  return world;
}

/** Asks until PostgreSQL answers: it may just be away. */
export async function ask<T extends pg.QueryResultRow>(
  db: pg.Pool,
  text: string,
  values: unknown[] = [],
): Promise<T[]> {
  for (let tries = 1; ; tries += 1) {
    try {
      return (await db.query<T>(text, values)).rows;
    } catch (error) {
      const code = (error as { code?: string }).code ?? '';
      // Its own mistakes are not waited for: syntax, missing tables, wrong data.
      if (/^(42|22|23)/.test(code) || tries > 300) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
