// A PostgreSQL for surfaces that need one: vitest's where there is one, otherwise one of its own; each has a database for itself.
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { migrate } from '../../src/schema/migrate.ts';
import type { DatabaseTarget } from '../support/connector.ts';
import { withClient } from '../support/with-client.ts';

export type Server = Omit<DatabaseTarget['config'], 'database'>;

export interface FuzzDatabase extends DatabaseTarget {
  readonly pool: pg.Pool;
  /** When nobody reads its slot any more. */
  drop(): Promise<void>;
}

const RESOURCES = ['Patient', 'Encounter', 'Observation'];

/** `server`: null starts one. */
export async function openFuzzDatabase(server: Server | null): Promise<FuzzDatabase> {
  let own: EmbeddedPostgres | null = null;
  if (server === null) own = await startEmbeddedPostgres({ fsync: false });
  const { host, port, user, password } = server ?? (own as EmbeddedPostgres);
  const at = { host, port, user, password };
  const name = `fuzz_${randomBytes(6).toString('hex')}`;
  await withClient({ ...at, database: 'postgres' }, (admin) => admin.query(`CREATE DATABASE ${name}`));
  const config = { ...at, database: name };
  await withClient(config, (client) => migrate(client, { sample: false, resources: RESOURCES }));
  const pool = new pg.Pool({ ...config, max: 4 });
  pool.on('error', () => undefined);
  return {
    name,
    config,
    pool,
    async drop() {
      await pool.end();
      await withClient({ ...at, database: 'postgres' }, async (admin) => {
        await admin.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1', [
          name,
        ]);
        await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      });
      await own?.stop('immediate');
    },
  };
}
