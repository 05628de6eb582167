// backfill, as people run it: what was there before the triggers is sent once, beside an application and a connector at work.
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runCommand } from '../support/command.ts';
import { type ConnectorProcess, type RunningConnector, spawnConnector, startConnector } from '../support/connector.ts';
import { streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { createOperator, type Operator, withoutTriggers } from '../support/operator.ts';
import { allProcessed } from '../support/outbox.ts';
import { COUNT_UP } from '../support/patients.ts';

const PATIENCE = { timeout: 50_000 };

let database: TestDatabase;
let ledger: FhirLedger;
let operator: Operator;
let connector: RunningConnector | null = null;
const processes: ConnectorProcess[] = [];

beforeEach(async () => {
  database = await createDatabase();
  ledger = await FhirLedger.start();
  operator = await createOperator(database, ledger.url);
});

afterEach(async () => {
  for (const { child, exited } of processes.splice(0)) {
    child.kill('SIGKILL');
    await exited;
  }
  await connector?.stop();
  connector = null;
  await operator.drop();
  await database.drop();
  await ledger.stop();
});

async function connect(): Promise<void> {
  connector = startConnector(database, ledger.url);
  await streaming(connector);
}

function start(...options: string[]): ConnectorProcess {
  const started = spawnConnector(operator.environment, 'backfill', ...options);
  processes.push(started);
  return started;
}

const run = (...options: string[]) => runCommand(operator.environment, 'backfill', ...options);

/** Patients as they were before there were triggers, with ids from 1 on. */
const older = (count: number) =>
  withoutTriggers(
    database,
    `INSERT INTO patient (name_family, identifier_system, identifier_value)
     SELECT 'Canary-Doe', 'urn:mrn', 'CANARY-' || n FROM generate_series(1, ${count}) AS n;
     INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value)
     SELECT id, 'urn:insurance', 'I-' || id FROM patient WHERE id % 3 = 0`,
  );

async function number(sql: string): Promise<number> {
  const { rows } = await database.pool.query<{ n: number }>(`SELECT (${sql})::int AS n`);
  return rows[0]?.n ?? Number.NaN;
}

const emitted = () => number('SELECT count(*) FROM fhir_outbox');
const position = () => number('SELECT coalesce(max(position), 0) FROM fhir_backfill');
/** How often each patient was emitted, as distinct numbers. */
const timesEmitted = async (count: number) =>
  (
    await database.pool.query<{ times: number }>(
      `SELECT DISTINCT (SELECT count(*) FROM fhir_outbox WHERE patient_id = p.id)::int AS times FROM generate_series(1, $1) AS p(id) ORDER BY 1`,
      [count],
    )
  ).rows.map(({ times }) => times);

describe('the backfill', () => {
  it('that is killed again and again sends every patient, and none twice', async () => {
    await older(1500);
    await connect();
    for (const enough of [200, 900]) {
      const { child, exited } = start();
      await vi.waitUntil(async () => (await position()) >= enough, { ...PATIENCE, interval: 5 });
      child.kill('SIGKILL');
      await exited;
    }
    const last = await run();
    expect(last).toMatchObject({ status: 0, stdout: expect.stringContaining('Emitted 1500 of patient.') });
    expect(last.stdout).toContain('Going on with the backfill of ');
    await allProcessed(database);
    expect(await timesEmitted(1500)).toEqual([1]);
    expect(ledger.resources.size).toBe(1500);
    expect(ledger.writes.length).toBe(1500);
    expect(JSON.stringify(last)).not.toMatch(/canary/i);
  });

  it('keeps the order of each patient while others change them, and never makes their statements fail', async () => {
    await older(2000);
    await connect();
    const writers = new AbortController();
    // Two patients a transaction, the later one first: against the order in which a step takes them.
    const writer = async (offset: number): Promise<number> => {
      const client = new pg.Client(database.config);
      await client.connect();
      let transactions = 0;
      for (let low = 1 + offset; !writers.signal.aborted; low = ((low + 6) % 1000) + 1 - ((low + 6) % 2) + offset) {
        await client.query('BEGIN');
        await client.query(COUNT_UP, [[low + 1000]]);
        await client.query(COUNT_UP, [[low]]);
        await client.query('COMMIT');
        transactions += 1;
      }
      await client.end();
      return transactions;
    };
    const writing = [writer(0), writer(1)];
    const result = await run('--all').finally(() => writers.abort());
    const transactions = await Promise.all(writing);
    expect(result.status).toBe(0);
    for (const count of transactions) expect(count).toBeGreaterThan(20);
    await allProcessed(database);

    const counts = new Map<string, number[]>();
    for (const { id, body } of ledger.writes) {
      const count = Number((body?.telecom as { value: string }[] | undefined)?.[0]?.value ?? 0);
      counts.set(id, [...(counts.get(id) ?? []), count]);
    }
    expect(counts.size).toBe(2000);
    for (const [id, each] of counts) expect(each, id).toEqual(each.toSorted((a, b) => a - b));
    expect([...counts.values()].reduce((sum, each) => sum + (each.at(-1) ?? 0), 0)).toBe(
      await number('SELECT sum(phone_number::int) FROM patient'),
    );
    expect(Math.min(...(await timesEmitted(2000)))).toBe(1);
  });

  it('waits while nobody delivers, says so, outlives its connections, and ends when a connector comes', async () => {
    await older(1000);
    const { stderr, log, exited } = start();
    await vi.waitUntil(() => stderr.some((line) => line.startsWith('Waiting: no connector')), PATIENCE);
    const waitingAt = await emitted();
    expect(waitingAt).toBeGreaterThanOrEqual(500);
    expect(waitingAt).toBeLessThan(750);
    await database.pool.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fhir-connector backfill'",
    );
    await vi.waitUntil(() => stderr.some((line) => line.startsWith('Waiting for PostgreSQL')), PATIENCE);
    expect(await emitted()).toBe(waitingAt);
    await connect();
    expect(await exited).toBe(0);
    expect(log.at(-1)?.msg).toContain('Emitted 1000 of patient.');
    await allProcessed(database);
    expect(await timesEmitted(1000)).toEqual([1]);
  });

  it('comes as far as a patient that a transaction holds, and lets that transaction go first', async () => {
    await older(400);
    await connect();
    const application = new pg.Client(database.config);
    await application.connect();
    await application.query('BEGIN');
    await application.query(COUNT_UP, [[200]]);
    const { stderr, exited } = start();
    await vi.waitUntil(() => stderr.some((line) => line.startsWith('Waiting for a transaction')), PATIENCE);
    expect(await position()).toBe(199);
    // Done by the backfill, and held by it no more.
    await application.query(COUNT_UP, [[5]]);
    await application.query('COMMIT');
    await application.end();
    expect(await exited).toBe(0);
    await allProcessed(database);
    expect(await number('SELECT count(DISTINCT patient_id) FROM fhir_outbox')).toBe(400);
    expect([...ledger.resources.values()].filter(({ telecom }) => telecom).length).toBe(2);
  });

  it('is run by one process at a time', async () => {
    await older(1000);
    const { stderr } = start();
    await vi.waitUntil(() => stderr.some((line) => line.startsWith('Waiting: no connector')), PATIENCE);
    expect(await run()).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('Another backfill of this database is running'),
    });
  });

  it('that is stopped says so and goes on later, and is not mistaken for one of another kind', async () => {
    await older(1000);
    const { child, stderr, log, exited } = start();
    await vi.waitUntil(() => stderr.some((line) => line.startsWith('Waiting: no connector')), PATIENCE);
    child.kill('SIGTERM');
    expect(await exited).toBe(1);
    expect(log.at(-1)?.msg).toBe('Stopped after 500 rows. Another backfill goes on from here.');
    expect(await run('--all')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(
        /A backfill without --all is under way \(ids of patient up to 500 of 1000 are done\)/,
      ),
    });
    await connect();
    expect(await run('--all', '--restart')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('Emitted 1000 of patient.'),
    });
    await allProcessed(database);
    expect(await timesEmitted(1000)).toEqual([1, 2]);
    expect(await run()).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('There was nothing to emit'),
      stderr: 'Emitting patient, 0 rows emitted\n',
    });
  });

  it('sends only patients that never reached the server and that nobody has decided about', async () => {
    await older(8);
    await database.pool.query(`
      INSERT INTO fhir_link (resource_type, source_table, source_id, fhir_id, version_id, last_revision, deleted_at)
      VALUES ('Patient', 'patient', 1, 'r1', '1', 1, NULL), ('Patient', 'patient', 2, 'r2', '2', 2, now()),
             ('Patient', 'patient', 3, NULL, NULL, 2, now());
      SELECT fhir_emit_patient(id) FROM generate_series(4, 7) AS id;
      SELECT fhir_move_outbox_to_dlq(id, 'refused') FROM fhir_outbox WHERE patient_id >= 5;
      UPDATE fhir_dlq SET resolved_at = now(), resolution = 'discarded' WHERE patient_id >= 6`);
    // Discarded, and changed since, where no trigger saw it: that is another state than the one decided about.
    await database.pool.query('UPDATE fhir_patient_revision SET revision = revision + 1 WHERE patient_id = 7');
    const before = await emitted();
    expect(await run()).toMatchObject({ status: 0, stdout: expect.stringContaining('Emitted 4 of patient.') });
    const { rows } = await database.pool.query('SELECT patient_id FROM fhir_outbox ORDER BY id OFFSET $1', [before]);
    expect(rows.map(({ patient_id }) => patient_id)).toEqual([2, 3, 7, 8]);
  });

  it('needs the role fhir_operator, and says so', async () => {
    await database.pool.query(`REVOKE fhir_operator FROM ${operator.environment.DB_USER}`);
    expect(await run()).toMatchObject({ status: 1, stderr: expect.stringContaining('GRANT fhir_operator TO') });
  });

  it('has nothing to do in an empty table', async () => {
    expect(await run()).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('There was nothing to emit'),
      stderr: 'Emitting patient, 0 rows emitted\n',
    });
  });
});
