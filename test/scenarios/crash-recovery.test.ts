// Crashes and losses in the middle of work: nothing is lost, each patient's order holds, and what comes twice is recognised.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import {
  type ConnectorProcess,
  connectorEnvironment,
  type RunningConnector,
  spawnConnector,
  startConnector,
} from '../support/connector.ts';
import { figureOf, streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { Dice } from '../support/dice.ts';
import { FhirSink, type Put } from '../support/fhir-sink.ts';
import { allProcessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { addPatient, COUNT_UP } from '../support/patients.ts';
import { auditTrail, countsOf } from './setup.ts';

/** How long the server takes. */
const dice = new Dice(1, 0);

let database: TestDatabase;
let sink: FhirSink;

beforeEach(async () => {
  database = await createDatabase();
  sink = await FhirSink.start();
});

afterEach(async () => {
  await database.drop();
  await sink.stop();
});

/** The real command in a process of its own; whatever becomes of the test, it ends with it. */
function startProcess(): ConnectorProcess {
  const connector = spawnConnector(connectorEnvironment(database, sink.url));
  onTestFinished(() => {
    connector.child.kill('SIGKILL');
  });
  return connector;
}

/** Counts patients up until `stop`, which returns how far each was counted. */
async function startWriters(): Promise<{ stop(): Promise<Map<string, number>> }> {
  const ids: number[] = [];
  for (let n = 0; n < 12; n += 1) ids.push(await addPatient(database, `P-${n}`));
  let stopped = false;
  const written = new Map<string, number>();
  const write = async (writer: number) => {
    for (let n = writer; !stopped; n += 5) {
      const index = n % ids.length;
      await database.pool.query(COUNT_UP, [[ids[index]]]);
      written.set(`P-${index}`, (written.get(`P-${index}`) ?? 0) + 1);
      // A steady load, not a flood: about 200 commits a second.
      await delay(20);
    }
  };
  const writers = Promise.all([0, 1, 2, 3].map(write));
  return {
    async stop() {
      stopped = true;
      await writers;
      return written;
    },
  };
}

/** Every commit arrived, each patient's in order; a repeat follows at once and is the same request, byte for byte. */
function expectNothingLost(puts: readonly Put[], written: ReadonlyMap<string, number>): void {
  const last = new Map<string, Put>();
  const once = puts.filter((put) => {
    const before = last.get(put.id);
    last.set(put.id, put);
    if (before?.requestId !== put.requestId) return true;
    expect({ ...put.body, id: put.id }).toEqual({ ...before?.body, id: put.id });
    return false;
  });
  const expected = [...written].map(([value, upTo]) => [value, Array.from({ length: upTo + 1 }, (_, n) => n)] as const);
  expect(countsOf(once)).toEqual(new Map(expected));
}

async function expectNoDeadLetters(): Promise<void> {
  expect((await database.pool.query('SELECT error_text FROM fhir_dlq')).rows).toEqual([]);
}

describe('kill -9', () => {
  it('in the middle of work, three times, loses nothing and keeps the order', { timeout: 120_000 }, async () => {
    const writers = await startWriters();
    for (let kills = 0; kills < 3; kills += 1) {
      const victim = startProcess();
      const killAt = sink.puts.length + 100;
      sink.script(async () => {
        if (sink.puts.length >= killAt) victim.child.kill('SIGKILL');
        // So that several are under way at the moment of the kill; the server applies them all the same.
        await delay(dice.int(0, 20));
        return undefined;
      });
      await victim.exited;
      expect(sink.puts.length).toBeGreaterThanOrEqual(killAt);
    }
    const survivor = startProcess();
    await streaming(survivor);
    const written = await writers.stop();
    await allProcessed(database);
    expectNothingLost(sink.puts, written);
    await expectNoDeadLetters();
    survivor.child.kill('SIGTERM');
    expect(await survivor.exited).toBe(0);
  });

  it.each([
    { moment: 'after the PUT was answered and before it was recorded', recorded: false, sentAgain: 1 },
    { moment: 'after the record and before the LSN was acknowledged', recorded: true, sentAgain: 0 },
  ])('$moment makes no second version', { timeout: 90_000 }, async ({ recorded, sentAgain }) => {
    const id = await addPatient(database, 'ONCE');
    const victim = startProcess();
    await streaming(victim);
    await allProcessed(database);

    // Whoever records the update needs the link's row, and waits.
    const blocker = await database.pool.connect();
    await blocker.query('BEGIN');
    await blocker.query('SELECT FROM fhir_link WHERE source_id = $1 FOR UPDATE', [id]);
    await database.pool.query(COUNT_UP, [[id]]);
    await expect.poll(recordsThatWait, PATIENCE).toHaveLength(1);
    expect(sink.putsOf('ONCE')).toHaveLength(2);
    victim.child.kill('SIGKILL');
    await victim.exited;
    // The statement that waits in the server survives its client: it is ended, or it finishes once it has the row.
    const [statement] = await recordsThatWait();
    if (!recorded) await blocker.query('SELECT pg_terminate_backend($1, 5000)', [statement]);
    await blocker.query('ROLLBACK');
    blocker.release();
    if (recorded) await allProcessed(database);

    let received = 0;
    sink.script(() => {
      received += 1;
      return undefined;
    });
    const successor = startProcess();
    await allProcessed(database);
    await streaming(successor);
    expect((await auditTrail(database, id)).map(({ fhir_version }) => fhir_version)).toEqual(['1', '2']);
    await database.pool.query(COUNT_UP, [[id]]);
    await allProcessed(database);
    expect(countsOf(sink.puts).get('ONCE')).toEqual([0, 1, 2]);
    expect(sink.putsOf('ONCE').at(-1)).toMatchObject({ version: 3, ifMatch: 'W/"2"' });
    expect(received).toBe(sentAgain + 1);
  });
});

describe('an answer that is lost after the server applied the PUT', () => {
  let connector: RunningConnector;

  beforeEach(async () => {
    connector = startConnector(database, sink.url);
    await streaming(connector);
  });

  afterEach(() => connector.stop());

  function loseNextAnswer(): void {
    let lost = false;
    sink.script(() => {
      if (lost) return undefined;
      lost = true;
      return 'lose-answer';
    });
  }

  it('makes no second resource of a new patient', async () => {
    loseNextAnswer();
    const id = await addPatient(database, 'LOST-NEW');
    await allProcessed(database);
    const puts = sink.putsOf('LOST-NEW');
    expect(new Set(puts.map((put) => put.id)).size).toBe(1);
    expect(new Set(puts.map((put) => put.requestId)).size).toBe(1);
    const [row] = await auditTrail(database, id);
    expect(row).toMatchObject({ fhir_resource_id: puts[0]?.id, fhir_version: String(puts.at(-1)?.version) });
    await expectNoDeadLetters();
  });

  it('makes no second version of a known one: its own write is recognised, and taken for nobody else’s', async () => {
    const id = await addPatient(database, 'LOST-KNOWN');
    await allProcessed(database);
    loseNextAnswer();
    await database.pool.query(COUNT_UP, [[id]]);
    await allProcessed(database);
    expect(countsOf(sink.puts).get('LOST-KNOWN')).toEqual([0, 1]);
    expect((await auditTrail(database, id)).map(({ fhir_version }) => fhir_version)).toEqual(['1', '2']);
    expect(await figureOf(connector.metrics.foreignEdits)).toBe(0);
    await expectNoDeadLetters();
  });
});

describe('connections to PostgreSQL that are ended', () => {
  it('in the middle of work, all of them, again and again, lose nothing and keep the order', async () => {
    const connector = startConnector(database, sink.url);
    await streaming(connector);
    const writers = await startWriters();
    sink.script(async () => {
      await delay(dice.int(0, 10));
      return undefined;
    });
    const reconnects = () => figureOf(connector.metrics.reconnects);
    for (let losses = 1; losses <= 4; losses += 1) {
      const putsBefore = sink.puts.length;
      await expect.poll(() => sink.puts.length, PATIENCE).toBeGreaterThan(putsBefore + 50);
      await database.pool.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'fhir-connector%'`,
        [database.name],
      );
      await expect.poll(reconnects, PATIENCE).toBe(losses);
    }
    const written = await writers.stop();
    await allProcessed(database);
    expectNothingLost(sink.puts, written);
    await expectNoDeadLetters();
    await connector.stop();
  });
});

/** Process ids of the connector's server processes that wait for a row. */
async function recordsThatWait(): Promise<number[]> {
  const { rows } = await database.pool.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity
      WHERE datname = $1 AND application_name = 'fhir-connector records' AND wait_event_type = 'Lock'`,
    [database.name],
  );
  return rows.map(({ pid }) => pid);
}
