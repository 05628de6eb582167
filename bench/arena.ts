// Where benchmarks run: one PostgreSQL with fsync, one sink, and for each workload a database of its own.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { migrate } from '../src/schema/migrate.ts';
import type { DatabaseTarget } from '../test/support/connector.ts';
import { Sink } from './sink.ts';
import { familyCpuSeconds } from './usage.ts';

const run = promisify(execFile);

/** What a process that measures a floor prints. */
export interface Floor {
  /** A second. */
  readonly rate: number;
  /** CPU milliseconds of one. */
  readonly cpuMs: number;
}

export interface BenchDatabase extends DatabaseTarget {
  readonly pool: pg.Pool;
  drop(): Promise<void>;
}

export class Arena {
  readonly sink: Sink;
  readonly #postgres: EmbeddedPostgres;
  readonly #admin: pg.Pool;
  #databases = 0;

  private constructor(postgres: EmbeddedPostgres, sink: Sink) {
    this.#postgres = postgres;
    this.sink = sink;
    this.#admin = this.#pool('postgres', 2);
  }

  static async open(): Promise<Arena> {
    const settings = {
      max_wal_size: '8GB',
      checkpoint_timeout: '30min',
      shared_buffers: '512MB',
      max_replication_slots: '20',
    };
    return new Arena(await startEmbeddedPostgres({ settings }), await Sink.start());
  }

  /** With the tables and triggers, and no patient. */
  async database(options: { migrated: boolean } = { migrated: true }): Promise<BenchDatabase> {
    this.#databases += 1;
    const name = `bench_${this.#databases}`;
    await this.#admin.query(`CREATE DATABASE ${name}`);
    const pool = this.#pool(name, 20);
    if (options.migrated) {
      const client = await pool.connect();
      await migrate(client, { sample: false });
      client.release();
    }
    const { host, port, user, password } = this.#postgres;
    return {
      name,
      pool,
      config: { host, port, user, password, database: name },
      drop: async () => {
        await pool.end();
        await this.#admin.query(
          'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1',
          [name],
        );
        await this.#admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      },
    };
  }

  /** PUTs alone, `width` at once, with the sink as it is configured. */
  putFloor(width: number, count: number): Promise<Floor> {
    return measure('put-floor', [this.sink.url, String(width), String(count)]);
  }

  /** Reads `rows` outbox rows from a slot and does nothing with them. */
  decodeFloor({ config }: DatabaseTarget, slot: string, rows: number): Promise<Floor> {
    return measure('decode-floor', [JSON.stringify(config), slot, 'fhir_outbox_pub', String(rows)]);
  }

  /** For that many seconds, `clients` update patients of their own, each one a transaction and the next when it is committed. */
  updateLoad({ config }: DatabaseTarget, clients: number, patients: number, seconds: number): Promise<Floor> {
    return measure('update-load', [JSON.stringify(config), String(clients), String(patients), String(seconds)]);
  }

  /** Of all of PostgreSQL's processes since it started, in seconds. */
  get serverCpuSeconds(): number {
    return familyCpuSeconds(this.#postgres.pid ?? Number.NaN);
  }

  async close(): Promise<void> {
    this.sink.stop();
    await this.#admin.end();
    await this.#postgres.stop('fast');
  }

  #pool(database: string, max: number): pg.Pool {
    const { host, port, user, password } = this.#postgres;
    const pool = new pg.Pool({ host, port, user, password, database, max });
    // At the end the server stops while the last of its connections are being closed.
    pool.on('error', () => undefined);
    return pool;
  }
}

async function measure(script: string, args: readonly string[]): Promise<Floor> {
  const path = fileURLToPath(new URL(`./processes/${script}.ts`, import.meta.url));
  const { stdout } = await run(process.execPath, [path, ...args]);
  return JSON.parse(stdout) as Floor;
}
