// `trace` tells what became of a transaction in each way in which one can end, and why there is nothing to tell.
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { runCommand } from '../support/command.ts';
import { type RunningConnector, startConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { createOperator, type Operator } from '../support/operator.ts';
import { withClient } from '../support/with-client.ts';

const PATIENCE = { timeout: 30_000 };

let database: TestDatabase;
let sink: FhirSink;
let operator: Operator;
let connector: RunningConnector;

beforeAll(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
  operator = await createOperator(database, sink.url);
  connector = startConnector(database, sink.url);
});

afterAll(async () => {
  await connector.stop();
  await operator.drop();
  await sink.stop();
  await database.drop();
});

const trace = (txid: string, ...args: string[]) => runCommand(operator.environment, 'trace', txid, ...args);

/** Runs the statements as one transaction and returns its id. */
async function transaction(...statements: string[]): Promise<string> {
  const client = await database.pool.connect();
  try {
    await client.query('BEGIN');
    for (const statement of statements) await client.query(statement);
    const { rows } = await client.query<{ txid: string }>('SELECT pg_current_xact_id()::text AS txid');
    await client.query('COMMIT');
    return rows[0]?.txid ?? '';
  } finally {
    client.release();
  }
}

const insert = (identifier: string) =>
  `INSERT INTO patient (identifier_system, identifier_value, name_family) VALUES ('urn:t', '${identifier}', 'Curie')`;

it('says of each event where it ended: on the server in a version, or as a dead letter with the reason', async () => {
  sink.script(({ identifier }) => (JSON.stringify(identifier).includes('refused') ? 422 : undefined));
  const txid = await transaction(insert('fine'), insert('refused'));
  await vi.waitFor(async () => {
    const { status, stdout } = await trace(txid);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\d+ +insert of patient \d+ .* delivered +Patient\/r1 version 1 +\d{4}-/m);
    expect(stdout).toMatch(/^\d+ +insert of patient \d+ .* dead letter \d+ .*\(HTTP 422/m);
    expect(stdout).toContain(`Transaction ${txid}, begun `);
    expect(stdout).toMatch(/: 1 delivered, 1 dead letter\.\n$/);
    expect(stdout).not.toContain('Curie');
  }, PATIENCE);
});

it('tells a program the same as JSON', async () => {
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const txid = await transaction(`SET LOCAL app.traceparent = '00-${traceId}-b7ad6b7169203331-01'`, insert('json'));
  await vi.waitFor(async () => {
    expect(JSON.parse((await trace(txid, '--json')).stdout)).toMatchObject({
      txid: Number(txid),
      status: 'committed',
      events: [{ table: 'patient', operation: 'insert', state: 'delivered', version: '1', reason: null, traceId }],
    });
    expect((await trace(txid)).stdout).toContain(`The application's trace: ${traceId}.`);
  }, PATIENCE);
});

it('says why there is nothing: still open, rolled back, or no event of it', async () => {
  const open = await withClient(database.config, async (client) => {
    await client.query(`BEGIN; ${insert('open')}`);
    const { txid } = (await client.query('SELECT pg_current_xact_id()::text AS txid')).rows[0];
    expect(await trace(txid)).toMatchObject({ status: 1, stdout: expect.stringMatching(/is still open/) });
    return txid;
  });
  await expect.poll(async () => (await trace(open)).stdout, PATIENCE).toMatch(/was rolled back/);
  const other = await transaction('CREATE TEMP TABLE of_no_interest ()');
  expect((await trace(other)).stdout).toMatch(/^The outbox has no event of transaction \d+: /);
  expect((await trace('999999999999')).stdout).toMatch(/^The outbox has no event of transaction 999999999999: /);
});

it('refuses what is no transaction id', async () => {
  expect(await trace('12x')).toMatchObject({ status: 1, stderr: expect.stringMatching(/whole number/) });
});
