// A database of its own for a test or a test file, on the server that postgres-server.ts started.

import { randomBytes } from 'node:crypto';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { inject } from 'vitest';
import type { Database } from '../../src/outbox/tables/database.ts';
import type { Schema } from '../../src/outbox/tables/schema.ts';
import { migrate } from '../../src/schema/migrate.ts';
import { withClient } from './with-client.ts';

export interface TestDatabase {
  readonly name: string;
  /** Connects a client or a pool of one's own to this database, as a superuser. */
  readonly config: { host: string; port: number; user: string; password: string; database: string };
  /** For the connector: its role's rights, and no other. */
  readonly connector: { readonly user: string; readonly password: string };
  readonly pool: pg.Pool;
  /** Drops the database's slots, whoever reads them, and then the database. */
  drop(): Promise<void>;
}

/** Creates a database: 'migrated' (default), with the 'sample' data too, or 'empty'; of `resources` the changes are sent. */
export async function createDatabase(
  content: 'migrated' | 'sample' | 'empty' = 'migrated',
  resources: readonly string[] = ['Patient'],
): Promise<TestDatabase> {
  const { connector, ...server } = inject('postgres');
  const name = `test_${randomBytes(6).toString('hex')}`;
  await withClient({ ...server, database: 'postgres' }, (admin) => admin.query(`CREATE DATABASE ${name}`));
  const config = { ...server, database: name };
  if (content !== 'empty')
    await withClient(config, (client) => migrate(client, { sample: content === 'sample', resources }));

  const pool = poolOf({ ...config, max: 10 });
  return {
    name,
    config,
    connector,
    pool,
    async drop() {
      await pool.end();
      await withClient({ ...server, database: 'postgres' }, async (admin) => {
        await dropSlots(admin, name);
        await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      });
    },
  };
}

/** The database as the connector's parts see it; `onStatement` is told of each statement when it has been answered. */
export function kyselyOf(
  { config }: Pick<TestDatabase, 'config'>,
  onStatement: (sql: string) => unknown = () => undefined,
): Database {
  return new Kysely<Schema>({
    dialect: new PostgresDialect({ pool: poolOf(config) }),
    log: async ({ query }) => {
      await onStatement(query.sql);
    },
  });
}

function poolOf(config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool(config);
  // Who stops the server or drops the database also breaks idle connections; without a listener that would end the process.
  pool.on('error', () => {});
  return pool;
}

/** A slot keeps its database from being dropped, and its reader keeps the slot. */
async function dropSlots(admin: pg.Client, database: string): Promise<void> {
  for (;;) {
    const { rows } = await admin.query<{ slot_name: string; active_pid: number | null }>(
      'SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = $1 LIMIT 1',
      [database],
    );
    const slot = rows[0];
    if (slot === undefined) return;
    if (slot.active_pid !== null) {
      // Waits until that process is gone, for at most 5 seconds.
      await admin.query('SELECT pg_terminate_backend($1, 5000)', [slot.active_pid]);
    }
    // A reader that reconnected in between holds it again: once more from the top.
    await admin.query('SELECT pg_drop_replication_slot($1)', [slot.slot_name]).catch((error: pg.DatabaseError) => {
      if (error.code !== '55006' && error.code !== '42704') throw error;
    });
  }
}
