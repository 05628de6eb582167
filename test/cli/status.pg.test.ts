// `status` on a real database while a connector works, while it does not, and while the FHIR server refuses a patient.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { runCommand } from '../support/command.ts';
import { slotOf, startConnector } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { FhirSink } from '../support/fhir-sink.ts';
import { createOperator, type Operator } from '../support/operator.ts';

const PATIENCE = { timeout: 30_000 };

let database: TestDatabase;
let sink: FhirSink;
let operator: Operator;

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
  operator = await createOperator(database, sink.url);
});

afterEach(async () => {
  await operator.drop();
  await sink.stop();
  await database.drop();
});

const status = (...args: string[]) =>
  runCommand({ ...operator.environment, SLOT_NAME: slotOf(database) }, 'status', ...args);
const register = (identifier: string) =>
  database.pool.query("INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:t', $1)", [identifier]);

it('says what flows while a connector works, and exits with 0; without one it exits with 1', async () => {
  const before = await status();
  expect(before.status).toBe(1);
  expect(before.stdout).toMatch(/^✗ Slot +slot_\w+ is missing/m);

  const connector = startConnector(database, sink.url);
  await register('one');
  await vi.waitUntil(() => sink.values.includes('one'), PATIENCE);
  await vi.waitFor(async () => {
    const { status: code, stdout, stderr } = await status();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^✓ Slot +a connector reads slot_\w+; it keeps \d+ MB of WAL/m);
    expect(stdout).toMatch(/^✓ Outbox +nothing waits$/m);
    expect(stdout).toMatch(
      /^✓ Delivered +1 event finished in the last minute; the newest \d+ s ago: transaction \d+ → Patient\/r1 version 1$/m,
    );
    expect(stdout).toMatch(/^✓ FHIR server +it answers$/m);
  }, PATIENCE);
  await connector.stop();
  expect((await status()).stdout).toMatch(/^✗ Slot +no connector reads slot_/m);
});

it('says why rows wait, in the words of the connector, and tells a program the same as JSON', async () => {
  sink.script(({ identifier }) => (JSON.stringify(identifier).includes('refused') ? 500 : undefined));
  const connector = startConnector(database, sink.url);
  try {
    await register('refused');
    await vi.waitFor(async () => {
      const told = JSON.parse((await status('--json')).stdout);
      expect(told.deliveries.failing).toEqual([{ reason: expect.stringMatching(/^The FHIR server failed/), rows: 1 }]);
      expect(told.outbox.unprocessed).toBe(1);
      expect(told.lines).toContainEqual(expect.objectContaining({ matter: 'Failing', sign: '!' }));
    }, PATIENCE);
  } finally {
    await connector.stop();
  }
});

it('does not wait for a lock on the outbox, and tells the rest', async () => {
  const holder = await database.pool.connect();
  try {
    await holder.query('BEGIN; LOCK TABLE fhir_outbox');
    const { status: code, stdout, stderr } = await status();
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toMatch(/^✗ Outbox +PostgreSQL did not tell in time: a lock/m);
    expect(stdout).toMatch(/^✓ Dead letters +none$/m);
    expect(stdout).toMatch(/^✓ Triggers +all are there/m);
  } finally {
    await holder.query('ROLLBACK');
    holder.release();
  }
});

it('ends without a word where its reader has seen enough', async () => {
  const child = spawn(process.execPath, ['src/main.ts', 'status'], {
    env: { PATH: process.env.PATH, ...operator.environment, SLOT_NAME: slotOf(database) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  const [said] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  expect(said).toBe('');
  // 128 and the number of SIGPIPE.
  expect(child.exitCode).toBe(141);
});
