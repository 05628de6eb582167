// The whole work, each part of it by a login of its role: who owns the tables is no superuser, and nobody has a right that docs/roles.md does not list.
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { runCommand } from '../support/command.ts';
import { type ConnectorProcess, connectorEnvironment, slotOf, spawnConnector } from '../support/connector.ts';
import { addressOf } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { createLogins, type Kind, type Logins } from '../support/logins.ts';
import { withoutTriggers } from '../support/operator.ts';
import { allProcessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';

const ALL = 'Patient,Encounter,Observation';
/** Beyond this a transaction is not kept in memory: src/outbox/delivery/transaction-rows.ts. */
const SPILL_BYTES = 8 * 1024 * 1024;

let database: TestDatabase;
let logins: Logins;
let fhir: FhirLedger;
let application: pg.Client;
let connector: ConnectorProcess;
let owner: string;

beforeAll(async () => {
  database = await createDatabase('empty');
  owner = `${database.name}_owner`;
  await database.pool.query(
    `CREATE ROLE ${owner} LOGIN CREATEROLE PASSWORD 'of-a-test'; ALTER DATABASE ${database.name} OWNER TO ${owner}`,
  );
  fhir = await FhirLedger.start();
  const migration = await runCommand(
    { ...environment('connector'), DB_USER: owner, DB_PASSWORD: 'of-a-test', FHIR_RESOURCES: ALL },
    'migrate',
  );
  expect(migration).toMatchObject({ status: 0, stderr: '' });
  expect(migration.stdout).not.toContain('PostgreSQL says');
  logins = await createLogins(database);
  application = new pg.Client(logins.as('application'));
  await application.connect();
  connector = start();
});

afterAll(async () => {
  await stop();
  await application.end();
  await logins.drop();
  await database.pool.query(`REASSIGN OWNED BY ${owner} TO CURRENT_USER; DROP OWNED BY ${owner}; DROP ROLE ${owner}`);
  await database.drop();
  await fhir.stop();
});

function environment(kind: Kind): Record<string, string> {
  const login = logins?.as(kind) ?? { user: '', password: '' };
  return {
    ...connectorEnvironment(database, fhir.url),
    DB_USER: login.user,
    DB_PASSWORD: login.password,
    FHIR_RESOURCES: ALL,
    RETENTION_DAYS: '1',
  };
}

function start(): ConnectorProcess {
  return spawnConnector(environment('connector'), 'run');
}

async function stop(): Promise<void> {
  connector.child.kill('SIGTERM');
  expect({ status: await connector.exited, stderr: connector.stderr }).toEqual({ status: 0, stderr: [] });
  expect(connector.log.filter(({ code }) => code === '42501')).toEqual([]);
}

const operator = (...args: string[]) => runCommand(environment('operator'), ...args);

/** In the application's name. */
async function insert(sql: string): Promise<number> {
  const { rows } = await application.query<{ id: number }>(`${sql} RETURNING id`);
  return rows[0]?.id ?? Number.NaN;
}

async function one<T extends object>(sql: string, values: unknown[] = []): Promise<T> {
  const { rows } = await database.pool.query<T>(sql, values);
  expect(rows).toHaveLength(1);
  return rows[0] as T;
}

const deadLetter = (table: string, id: number) =>
  one(
    `SELECT resolution, resolved_by, resolution_reason FROM fhir_dlq WHERE source_table = $1 AND source_id = $2 ORDER BY id DESC LIMIT 1`,
    [table, id],
  );
const resourcesOf = (type: string) => [...fhir.resources.values()].filter(({ resourceType }) => resourceType === type);
const families = () =>
  resourcesOf('Patient').map(({ name }) => (name as { family: string }[] | undefined)?.[0]?.family);

describe('the application changes, and the connector', () => {
  it('delivers: inserted, updated, with identifiers, deleted', async () => {
    const id = await insert("INSERT INTO patient (name_family, identifier_value) VALUES ('Curie', 'one')");
    await application.query(
      `INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value) VALUES (${id}, 'card', '1');
       UPDATE patient SET email = 'curie@example.com' WHERE id = ${id};
       DELETE FROM patient_other_identifiers WHERE patient_id = ${id};
       DELETE FROM patient WHERE id = ${id}`,
    );
    await allProcessed(database);
    expect(resourcesOf('Patient')).toMatchObject([{ active: false, name: [{ family: 'Curie' }] }]);
  });

  it('keeps what cannot be delivered, and sends what waited for it by itself', async () => {
    const patient = await insert("INSERT INTO patient (name_family) VALUES ('Nameless')");
    const form = await insert(`INSERT INTO form (patient_id, name) VALUES (${patient}, 'Annual Physical')`);
    await allProcessed(database);
    expect(await deadLetter('patient', patient)).toMatchObject({ resolution: null });
    expect(await deadLetter('form', form)).toMatchObject({ resolution: null });
    await application.query(`UPDATE patient SET identifier_value = 'two' WHERE id = ${patient}`);
    await vi.waitFor(() => expect(resourcesOf('Encounter')).toHaveLength(1), PATIENCE);
    await allProcessed(database);
    expect(await deadLetter('patient', patient)).toMatchObject({ resolution: 'superseded', resolved_by: null });
    expect(await deadLetter('form', form)).toMatchObject({
      resolution: 'replayed',
      resolved_by: logins.as('connector').user,
    });
  });

  it('reads a transaction from the outbox that is too large for its memory', async () => {
    await application.query(
      "INSERT INTO patient (name_family, identifier_value) SELECT 'Many', 'many-' || n FROM generate_series(1, 200) AS n",
    );
    await application.query("UPDATE patient SET address_line = repeat('x', 50000) WHERE name_family = 'Many'");
    const { bytes } = await one<{ bytes: number }>(
      'SELECT sum(octet_length(payload_json::text))::float8 AS bytes FROM fhir_outbox GROUP BY txid ORDER BY 1 DESC LIMIT 1',
    );
    expect(bytes).toBeGreaterThan(SPILL_BYTES);
    await allProcessed(database);
    const long = resourcesOf('Patient').filter((body) => JSON.stringify(body).length > 50_000);
    expect(long).toHaveLength(200);
  });

  it('catches up after its slot is lost, and cleans up what is finished and old', async () => {
    await stop();
    await application.query("INSERT INTO patient (name_family, identifier_value) VALUES ('Meitner', 'meanwhile')");
    await database.pool.query(`SELECT pg_drop_replication_slot('${slotOf(database)}')`);
    await database.pool.query(
      `UPDATE fhir_outbox SET created_at = now() - interval '9 days', processed_at = now() - interval '9 days' WHERE processed;
       UPDATE fhir_processed_event SET processed_at = now() - interval '9 days';
       UPDATE fhir_dlq SET resolved_at = now() - interval '9 days' WHERE resolution = 'superseded'`,
    );
    connector = start();
    await vi.waitFor(
      () => expect(connector.log).toContainEqual(expect.objectContaining({ msg: 'Caught up.', rows: 1 })),
      PATIENCE,
    );
    await vi.waitFor(
      () =>
        expect(connector.log).toContainEqual(
          expect.objectContaining({ deadLetters: 1, outboxRows: expect.any(Number) }),
        ),
      PATIENCE,
    );
    expect(await one('SELECT count(*)::int AS rows FROM fhir_outbox')).toEqual({ rows: 1 });
    expect(families()).toContain('Meitner');
  });

  it('tells its figures, and doctor finds nothing too wide and nothing lacking', async () => {
    await vi.waitFor(async () => {
      const metrics = await (await fetch(`${addressOf(connector)}/metrics`)).text();
      expect(metrics).toMatch(/^fhir_outbox_unprocessed_count 0$/m);
      expect(metrics).toMatch(/^fhir_dlq_total 0$/m);
      expect(metrics).toMatch(/^fhir_triggers_off 0$/m);
    }, PATIENCE);
    const { stdout } = await runCommand(environment('connector'), 'doctor', '--json');
    const findings = JSON.parse(stdout) as { check: string; verdict: string }[];
    // The server of the tests lets a slot keep any amount of WAL.
    expect(findings.filter(({ verdict, check }) => verdict !== 'ok' && check !== 'max_slot_wal_keep_size')).toEqual([]);
  });
});

describe('the operator', () => {
  it('lists, replays and discards, and is recorded', async () => {
    const replayed = await insert("INSERT INTO patient (name_family) VALUES ('Replayed')");
    const discarded = await insert("INSERT INTO patient (name_family) VALUES ('Discarded')");
    await allProcessed(database);
    const { deadLetters } = JSON.parse((await operator('dlq', 'list', '--json')).stdout) as {
      deadLetters: { id: number; source: { id: number } }[];
    };
    const idOf = (patient: number) => String(deadLetters.find(({ source }) => source.id === patient)?.id);
    await withoutTriggers(database, `UPDATE patient SET identifier_value = 'found' WHERE id = ${replayed}`);
    expect(await operator('dlq', 'replay', idOf(replayed), '--reason', 'found it')).toMatchObject({ status: 0 });
    expect(await operator('dlq', 'discard', idOf(discarded), '--reason', 'by mistake', '--yes')).toMatchObject({
      status: 0,
    });
    await allProcessed(database);
    const by = { resolved_by: logins.as('operator').user };
    expect(await deadLetter('patient', replayed)).toEqual({
      ...by,
      resolution: 'replayed',
      resolution_reason: 'found it',
    });
    expect(await deadLetter('patient', discarded)).toEqual({
      ...by,
      resolution: 'discarded',
      resolution_reason: 'by mistake',
    });
    const { stdout } = await operator('dlq', 'show', idOf(discarded));
    expect(stdout).toContain(` by ${by.resolved_by}`);
    expect(families()).toContain('Replayed');
  });

  it('backfills, verifies and repairs, sees how it stands, and is recorded', async () => {
    await withoutTriggers(
      database,
      `INSERT INTO patient (name_family, identifier_value) VALUES ('Before', 'before');
       UPDATE patient SET name_family = 'Unseen' WHERE identifier_value = 'found'`,
    );
    expect(await operator('backfill')).toMatchObject({ status: 0 });
    await allProcessed(database);
    expect(families()).toContain('Before');
    expect(await operator('verify', '--repair')).toMatchObject({ status: 0 });
    expect(families()).toContain('Unseen');
    const by = logins.as('operator').user;
    expect(await one('SELECT DISTINCT started_by FROM fhir_backfill')).toEqual({ started_by: by });
    expect(await one('SELECT run_by, repaired::int FROM fhir_verification')).toEqual({ run_by: by, repaired: 1 });
    const { txid } = await one<{ txid: string }>('SELECT max(txid) AS txid FROM fhir_outbox');
    expect(await operator('trace', txid)).toMatchObject({ status: 0, stdout: expect.stringContaining('delivered') });
    expect(await operator('status')).toMatchObject({ stdout: expect.stringContaining('Slot') });
  });
});
