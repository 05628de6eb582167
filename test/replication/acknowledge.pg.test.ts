// The worst bug: acknowledging past a commit that is not finished. https://www.postgresql.org/docs/current/protocol-replication.html
import pg from 'pg';
import { LogicalReplicationService, type Pgoutput, PgoutputPlugin } from 'pg-logical-replication';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { formatLsn, parseLsn } from '../../src/postgres/lsn.ts';
import { migrate } from '../../src/schema/migrate.ts';
import { connectorEnvironment, spawnConnector, startConnector } from '../support/connector.ts';
import { figureOf, streaming } from '../support/connector-state.ts';
import { FhirSink, primaryValue } from '../support/fhir-sink.ts';
import { withClient } from '../support/with-client.ts';

// A server of its own: nobody else's WAL may come between the two commits.
let server: EmbeddedPostgres;
let sink: FhirSink;

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false, settings: { autovacuum: 'off' } });
  sink = await FhirSink.start();
});

afterAll(async () => {
  await sink.stop();
  await server.stop('fast');
});

describe('two concurrent transactions whose commit records touch', () => {
  it('delivers the second after the first was acknowledged and the connector was killed', async () => {
    const database = await newDatabase('touching');
    const client = await connect(database);
    await client.query(`SELECT pg_create_logical_replication_slot('oracle', 'pgoutput')`);
    sink.script((body) => (primaryValue(body).startsWith('second') ? new Promise(() => {}) : undefined));
    const connector = spawnConnector(connectorEnvironment(database, sink.url));
    onTestFinished(() => {
      connector.child.kill('SIGKILL');
    });
    await streaming(connector);

    const firstEnd = await commitTouching(database, client);
    const acknowledged = async () =>
      parseLsn(
        (
          await client.query(`SELECT confirmed_flush_lsn AS lsn FROM pg_replication_slots WHERE slot_name = $1`, [
            `slot_${database.name}`,
          ])
        ).rows[0].lsn,
      );
    await expect.poll(acknowledged, { timeout: 20_000 }).toBeGreaterThanOrEqual(parseLsn(firstEnd));
    connector.child.kill('SIGKILL');
    await connector.exited;
    // Not a byte more: there the second one begins.
    expect(formatLsn(await acknowledged())).toBe(firstEnd);

    sink.script(() => undefined);
    const successor = startConnector(database, sink.url);
    await expect
      .poll(() => sink.values.filter((value) => value.startsWith('second')).length, { timeout: 20_000 })
      .toBe(1);
    // It came through the slot: not even the sweep had to find it.
    await expect
      .poll(
        async () => (await client.query('SELECT count(*)::int AS n FROM fhir_outbox WHERE NOT processed')).rows[0].n,
      )
      .toBe(0);
    expect(await figureOf(successor.metrics.skippedRows)).toBe(0);
    await successor.stop();
    await client.end();
  });

  it('would be lost with the library service and its acknowledge(commitEndLsn)', async () => {
    const database = await newDatabase('library');
    const client = await connect(database);
    await client.query(`SELECT pg_create_logical_replication_slot('library', 'pgoutput')`);
    await client.query(`SELECT pg_create_logical_replication_slot('oracle', 'pgoutput')`);
    const firstEnd = await commitTouching(database, client, 'library');

    const service = new LogicalReplicationService(database.config, { acknowledge: { auto: false, timeoutSeconds: 0 } });
    const seen = new Promise<void>((resolve, reject) => {
      service.on('data', (_, message: Pgoutput.Message) => {
        if (message.tag === 'commit' && message.commitEndLsn && formatLsn(parseLsn(message.commitEndLsn)) === firstEnd)
          resolve(service.acknowledge(message.commitEndLsn).then(() => undefined));
      });
      service.on('error', reject);
    });
    service
      .subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: ['fhir_outbox_pub'] }), 'library')
      .catch(() => undefined);
    await seen;
    await service.destroy();
    await expect
      .poll(
        async () =>
          (await client.query(`SELECT active FROM pg_replication_slots WHERE slot_name = 'library'`)).rows[0].active,
      )
      .toBe(false);
    const left = await client.query(
      `SELECT count(*)::int AS n FROM pg_logical_slot_peek_binary_changes('library', NULL, NULL, 'proto_version', '1', 'publication_names', 'fhir_outbox_pub') WHERE get_byte(data, 0) = 67`,
    );
    expect(left.rows[0].n).toBe(0);
    await client.end();
  });
});

describe('a held FHIR server', () => {
  it('keeps confirmed_flush_lsn before the held commit for 30 seconds of other traffic and keepalives', {
    timeout: 90_000,
  }, async () => {
    const database = await newDatabase('held');
    const client = await connect(database);
    const other = await connect(database);
    const release = Promise.withResolvers<undefined>();
    sink.script(() => release.promise);
    const connector = startConnector(database, sink.url, { timeoutMs: 120_000 });
    await expect.poll(() => connector.metrics.connectorState.get(), { timeout: 20_000 }).toBe('streaming');

    await client.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:test', 'held')`);
    const { lsn: held } = (await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn'))
      .rows[0] ?? { lsn: '' };
    const until = performance.now() + 30_000;
    let samples = 0;
    await expect
      .poll(
        async () => {
          await other.query(`SELECT pg_logical_emit_message(false, 'noise', repeat('x', 20000))`);
          const { rows } = await client.query<{ passed: boolean }>(
            `SELECT confirmed_flush_lsn >= $1::pg_lsn AS passed FROM pg_replication_slots WHERE slot_name = $2`,
            [held, connector.slot],
          );
          expect(rows[0]?.passed).toBe(false);
          samples += 1;
          return performance.now() > until;
        },
        { timeout: 60_000, interval: 100 },
      )
      .toBe(true);
    expect(samples).toBeGreaterThan(100);
    // Nothing was finished, and PostgreSQL heard of us all the same: it would have ended the connection after ten seconds.
    expect((await connector.metrics.reconnects.get()).values.map(({ value }) => value)).toEqual([0]);

    release.resolve(undefined);
    await expect
      .poll(
        async () =>
          (
            await client.query(
              `SELECT confirmed_flush_lsn >= $1::pg_lsn AS passed FROM pg_replication_slots WHERE slot_name = $2`,
              [held, connector.slot],
            )
          ).rows[0].passed,
        { timeout: 20_000 },
      )
      .toBe(true);
    await connector.stop();
    await client.end();
    await other.end();
  });
});

async function newDatabase(name: string) {
  await withClient(config('postgres'), async (admin) => {
    for (const slot of ['oracle', 'library']) {
      await admin.query(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1`, [
        slot,
      ]);
    }
    await admin.query(`CREATE DATABASE ${name}`);
  });
  const database = { name, config: config(name) };
  await withClient(database.config, (client) => migrate(client, { sample: false }));
  return database;
}

function config(database: string) {
  return { host: server.host, port: server.port, user: server.user, password: server.password, database };
}

async function connect(database: { config: pg.ClientConfig }): Promise<pg.Client> {
  const client = new pg.Client(database.config);
  await client.connect();
  return client;
}

/**
 * Commits two transactions so that the second's commit record begins where the first's ends, and returns that position.
 * Whether they touch is read from a second slot; a background process may write between them, then two others are tried.
 */
async function commitTouching(
  database: { config: pg.ClientConfig },
  client: pg.Client,
  discard?: string,
): Promise<string> {
  const [first, second] = [await connect(database), await connect(database)];
  try {
    for (let round = 0; round < 50; round += 1) {
      await client.query(
        `SELECT count(*) FROM pg_logical_slot_get_binary_changes('oracle', NULL, NULL, 'proto_version', '1', 'publication_names', 'fhir_outbox_pub')`,
      );
      if (discard) await client.query(`SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())`, [discard]);
      for (const [name, session] of [
        ['first', first],
        ['second', second],
      ] as const) {
        await session.query('BEGIN');
        await session.query(`SET LOCAL synchronous_commit = off`);
        await session.query(`INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:test', $1)`, [
          `${name}-${round}`,
        ]);
      }
      await first.query('COMMIT');
      await second.query('COMMIT');
      await client.query(`SELECT pg_logical_emit_message(true, 'flush', '')`);
      const { rows } = await client.query<{ lsn: string; data: Buffer }>(
        `SELECT lsn::text, data FROM pg_logical_slot_peek_binary_changes('oracle', NULL, NULL, 'proto_version', '1', 'publication_names', 'fhir_outbox_pub') WHERE get_byte(data, 0) = 67`,
      );
      const [one, two] = rows.map(({ data }) => ({ start: data.readBigUInt64BE(2), end: data.readBigUInt64BE(10) }));
      if (one && two && one.end === two.start) return formatLsn(one.end as ReturnType<typeof parseLsn>);
    }
    throw new Error('In 50 rounds no two commit records touched.');
  } finally {
    await first.end();
    await second.end();
  }
}
