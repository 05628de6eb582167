// PostgreSQL fails and quotes a patient in its words, the connector crashes with an error about one: nothing of it is said.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { slotOf } from '../support/connector.ts';
import { QuotingDatabase } from './quoting.ts';
import { CanaryWorld, PATIENCE } from './world.ts';

const ALL = ['log', '/', '/status.json', '/metrics', 'pg_stat_activity'];
/** As planted-errors.ts has them. */
const PLANTED = ['exception', 'rejection', 'text alone', 'several with causes', 'error event', 'rejection of nothing'];
const codes = (log: readonly Record<string, unknown>[]) => new Set(log.map(({ code }) => code));

let world: CanaryWorld;
let quoting: QuotingDatabase;

beforeEach(async () => {
  world = await CanaryWorld.open();
  quoting = await QuotingDatabase.prepare(world.db, world.marks.text('row'));
});
afterEach(() => world.close());

test('records that PostgreSQL refuses, with the row in its words, are told of by their SQLSTATE', async () => {
  const connector = world.start();
  await world.streaming(connector);
  // What the data is to blame for makes a dead letter, or ends in one; what is not is tried again.
  for (const [table, state] of [
    ['fhir_link', '23505'],
    ['fhir_link', '22P02'],
    ['fhir_link', 'P0001'],
    ['fhir_outbox', '40001'],
  ] as const) {
    // The application writes first.
    world.fhir.ledger.fault = () => ({ status: 503, diagnostics: world.fhir.word });
    const patient = await world.patients.add();
    await quoting.onWrite(table, state);
    world.fhir.ledger.fault = undefined;
    await vi.waitUntil(() => codes(connector.log).has(state), PATIENCE);
    await quoting.stopOnWrite(table);
    await world.settled();
    await world.patients.update(patient.id);
    await world.settled();
  }
  // A real constraint, whose DETAIL has the key.
  await world.db.query('CREATE UNIQUE INDEX canary ON fhir_link_identifier (value)');
  const identifier_value = world.patients.identifier();
  await world.patients.add({ identifier_value });
  await world.patients.add({ identifier_value });
  await world.settled();
  // Reads of the gauges and look-ups.
  await quoting.onRead('fhir_link', 'P0002');
  await world.patients.add();
  await vi.waitUntil(() => codes(connector.log).has('P0002'), PATIENCE);
  await quoting.stopOnRead('fhir_link');
  await world.settled();
  await world.expectClean(...ALL, 'traces');
  expect(connector.log.filter(({ msg }) => msg === 'dead-lettered').length).toBeGreaterThan(1);
  expect(world.said('log')).toContain('SQLSTATE 23505');
});

test('locks, cancelled statements and killed connections are told of without a row', async () => {
  const connector = world.start();
  await world.streaming(connector);
  const client = await world.db.connect();
  await client.query('BEGIN; LOCK TABLE fhir_link IN ACCESS EXCLUSIVE MODE');
  await world.patients.add();
  await vi.waitUntil(() => codes(connector.log).has('55P03'), PATIENCE);
  await vi.waitUntil(async () => {
    await client.query(
      "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'",
      [world.roles.connector],
    );
    return codes(connector.log).has('57014');
  }, PATIENCE);
  await client.query('ROLLBACK');
  client.release();
  await world.settled();
  await world.db.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [
    world.roles.connector,
  ]);
  await world.delivered(await world.patients.add());
  // The slot is gone, and what was committed meanwhile is read from the table.
  await vi.waitUntil(async () => {
    await world.db.query('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1', [
      slotOf(world.target),
    ]);
    return world.db.query('SELECT pg_drop_replication_slot($1)', [slotOf(world.target)]).then(
      () => true,
      () => false,
    );
  }, PATIENCE);
  await world.delivered(await world.patients.add());
  await vi.waitUntil(() => connector.log.some(({ msg }) => msg.includes('making it anew')), PATIENCE);
  await world.expectClean(...ALL, 'traces');
});

test('a connector that an error of PostgreSQL’s ends, with the row in its words, says the SQLSTATE and its own place', async () => {
  const connector = world.start();
  await world.streaming(connector);
  world.fhir.ledger.fault = () => ({ status: 503, diagnostics: world.fhir.word });
  await world.patients.add();
  // That no function is there is no fault that passes.
  await quoting.onWrite('fhir_link', '42883');
  world.fhir.ledger.fault = undefined;
  expect(await connector.exited).toBe(1);
  await world.expectClean(...ALL, 'stderr');
  expect(world.said('stderr')).toMatch(/nobody foresaw.*\nDatabaseError 42883\n {4}at .*\.[tj]s:\d+:\d+\n/);
});

test.each(PLANTED)('an uncaught %s and warnings end the connector with a class and a place alone', async (kind) => {
  const connector = world.start({
    NODE_OPTIONS: '--import=./test/canary/planted-errors.ts',
    CANARY_ERROR: kind,
    CANARY_WORD: world.marks.text('error'),
  });
  await world.streaming(connector);
  await world.delivered(await world.patients.add());
  connector.child.kill('SIGUSR2');
  expect(await connector.exited).toBe(1);
  await world.expectClean('log', 'stderr');
  expect(world.said('stderr')).toContain('An error that nobody foresaw');
  expect(world.said('stderr')).toContain('Node warns of');
  // What was logged until then is not lost.
  expect(connector.log.some(({ msg }) => msg === 'delivered')).toBe(true);
});

test('kill -9 and SIGTERM in the middle of work say nothing of a patient', async () => {
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
    const connector = world.start();
    await world.streaming(connector);
    const held = Promise.withResolvers<void>();
    world.fhir.ledger.fault = () => ({ delay: held.promise });
    const before = world.fhir.asked.length;
    const patients = await Promise.all([world.patients.add(), world.patients.add()]);
    await vi.waitUntil(() => world.fhir.asked.length > before, PATIENCE);
    connector.child.kill(signal);
    held.resolve();
    world.fhir.ledger.fault = undefined;
    await connector.exited;
    for (const { id } of patients) await world.patients.update(id);
  }
  const last = world.start();
  await world.streaming(last);
  await world.settled();
  await world.expectClean(...ALL, 'traces', 'command line');
});
