// Dead letters: what a patient cannot be delivered for is kept with its reason while others go on, and an outage is no reason.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../support/command.ts';
import { connectorEnvironment } from '../support/connector.ts';
import { figureOf } from '../support/connector-state.ts';
import { primaryValue } from '../support/fhir-sink.ts';
import { allProcessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { addPatient } from '../support/patients.ts';
import { type Scenario, startScenario } from '../support/scenario.ts';
import { auditTrail } from './setup.ts';

let scenario: Scenario;

beforeAll(async () => {
  scenario = await startScenario({ maxRetries: 1 });
});

afterAll(() => scenario.end());

/** The FHIR server answers this patient's PUTs with a status, and everybody else's as usual. */
function refuse(value: string, status: number): void {
  scenario.sink.script((body) => (primaryValue(body) === value ? status : undefined));
}

async function deadLettersOf(patientId: number) {
  const { rows } = await scenario.database.pool.query(
    `SELECT outbox_id::int, operation, payload_json ->> 'name_family' AS family, error_text, http_status, operation_outcome, attempts,
            resource_type, source_id::int, resolution, resolved_at IS NOT NULL AS resolved
       FROM fhir_dlq WHERE patient_id = $1 ORDER BY id`,
    [patientId],
  );
  return rows;
}

async function failed(): Promise<number> {
  return (await figureOf(scenario.connector.metrics.failed)) ?? 0;
}

describe('a patient that the FHIR server refuses (422)', () => {
  it('is dead-lettered with status and OperationOutcome while others go on; a later change resolves it', async () => {
    const { database, sink, connector } = scenario;
    const failedBefore = await failed();
    refuse('REFUSED', 422);
    const id = await addPatient(database, 'REFUSED');
    await addPatient(database, 'OTHER-1');
    await allProcessed(database);
    const [row] = await auditTrail(database, id);
    expect(await deadLettersOf(id)).toEqual([
      {
        outbox_id: row?.id,
        operation: 'I',
        family: 'Doe',
        error_text: expect.stringMatching(/does not accept the resource.*HTTP 422/),
        http_status: 422,
        operation_outcome: {
          resourceType: 'OperationOutcome',
          issue: [{ severity: 'error', code: 'processing', diagnostics: expect.stringContaining('REFUSED') }],
        },
        attempts: 0,
        resource_type: 'Patient',
        source_id: id,
        resolution: null,
        resolved: false,
      },
    ]);
    expect(row).toMatchObject({ fhir_version: null, last_error: expect.stringContaining('HTTP 422') });
    expect(await failed()).toBe(failedBefore + 1);
    expect(sink.values).toContain('OTHER-1');
    expect(sink.putsOf('REFUSED')).toEqual([]);
    // The server's words name the patient: they are kept with the dead letter and told to no log.
    expect(connector.log.find(({ msg }) => msg === 'dead-lettered')).toMatchObject({
      status: 422,
      outboxIds: [row?.id],
    });
    expect(JSON.stringify(connector.log)).not.toContain('REFUSED');

    refuse('nobody', 422);
    await database.pool.query(`UPDATE patient SET name_family = 'Better' WHERE id = $1`, [id]);
    await allProcessed(database);
    expect(sink.putsOf('REFUSED').map(({ body }) => body.name)).toMatchObject([[{ family: 'Better' }]]);
    expect(await deadLettersOf(id)).toMatchObject([{ resolution: 'superseded', resolved: true }]);
  });
});

describe('a patient without identifier', () => {
  it('is dead-lettered with that reason and never sent', async () => {
    const { database, sink } = scenario;
    const [failedBefore, putsBefore] = [await failed(), sink.puts.length];
    const id = await addPatient(database, null);
    await allProcessed(database);
    expect(await deadLettersOf(id)).toMatchObject([
      { error_text: 'The patient has no identifier: identifier_value is empty.', http_status: null, resolved: false },
    ]);
    expect(sink.puts).toHaveLength(putsBefore);
    expect(await failed()).toBe(failedBefore + 1);
  });
});

describe('a patient for whom the server fails (500) while it works for others', () => {
  it('is tried again MAX_RETRIES times and then dead-lettered, all rows of the transaction', async () => {
    const { database, sink } = scenario;
    const failedBefore = await failed();
    let tries = 0;
    sink.script((body) => {
      if (primaryValue(body) !== 'FAILS') return undefined;
      tries += 1;
      return 500;
    });
    const { rows } = await database.pool.query<{ id: number }>(
      `WITH p AS (INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:mrn', 'FAILS') RETURNING id)
       INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value)
       SELECT id, 'urn:ins', 'F' FROM p RETURNING patient_id AS id`,
    );
    const id = rows[0]?.id ?? 0;
    await expect
      .poll(() => deadLettersOf(id), PATIENCE)
      .toMatchObject([
        { http_status: 500, attempts: 2 },
        { http_status: 500, attempts: 2 },
      ]);
    expect(tries).toBeGreaterThan(1);
    expect(await failed()).toBe(failedBefore + 2);
  });

  it('is delivered when it works again before that', async () => {
    const { database, sink } = scenario;
    let tries = 0;
    sink.script((body) => {
      if (primaryValue(body) !== 'FAILS-ONCE') return undefined;
      tries += 1;
      return tries === 1 ? 500 : undefined;
    });
    const id = await addPatient(database, 'FAILS-ONCE');
    await allProcessed(database);
    expect(sink.putsOf('FAILS-ONCE')).toHaveLength(1);
    expect(await deadLettersOf(id)).toEqual([]);
  });
});

describe('a dead letter that an operator replays', () => {
  const OPERATOR = 'scenario_operator';
  let operator: Record<string, string>;

  beforeAll(async () => {
    const { database, sink } = scenario;
    await database.pool.query(`CREATE ROLE ${OPERATOR} LOGIN PASSWORD 'not-a-secret' IN ROLE fhir_operator`);
    operator = { ...connectorEnvironment(database, sink.url), DB_USER: OPERATOR, DB_PASSWORD: 'not-a-secret' };
  });

  afterAll(() => scenario.database.pool.query(`DROP ROLE ${OPERATOR}`));

  async function dlq(...args: string[]) {
    const { status, stdout, stderr } = await runCommand(operator, 'dlq', ...args, '--json');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return JSON.parse(stdout);
  }

  async function unresolvedIdsOf(patientId: number): Promise<number[]> {
    const { deadLetters } = await dlq('list');
    const own = deadLetters.filter((one: { patientId: number }) => one.patientId === patientId);
    return own.map(({ id }: { id: number }) => id);
  }

  it('is delivered as the patient is now, and the others of the patient are superseded by that', async () => {
    const { database, sink } = scenario;
    refuse('REPLAYED', 422);
    const id = await addPatient(database, 'REPLAYED');
    await allProcessed(database);
    await database.pool.query("UPDATE patient SET name_family = 'Newer' WHERE id = $1", [id]);
    await allProcessed(database);
    const [first, second] = await unresolvedIdsOf(id);
    refuse('nobody', 422);

    const { deadLetters, stillOpen } = await dlq('replay', String(first), '--reason', 'rule mended');
    expect(deadLetters).toMatchObject([{ id: first, result: 'replayed' }]);
    expect(stillOpen).toBeLessThanOrEqual(1);
    await allProcessed(database);
    expect(sink.putsOf('REPLAYED').map(({ body }) => body.name)).toMatchObject([[{ family: 'Newer' }]]);
    expect(await dlq('show', String(first))).toMatchObject({
      state: 'replayed',
      resolutionReason: 'rule mended',
      resolvedBy: OPERATOR,
      replay: { state: 'delivered', fhirId: expect.any(String), version: '1' },
    });
    expect(await dlq('show', String(second))).toMatchObject({ state: 'superseded', resolvedBy: null });
  });

  it('and is refused again makes a new dead letter, to which the replayed one points', async () => {
    const { database, sink } = scenario;
    refuse('AGAIN', 422);
    const id = await addPatient(database, 'AGAIN');
    await allProcessed(database);
    const [first] = await unresolvedIdsOf(id);
    await dlq('replay', String(first));
    await allProcessed(database);
    const [again] = await unresolvedIdsOf(id);
    expect(again).not.toBe(first);
    expect(await dlq('show', String(first))).toMatchObject({ replay: { state: 'dead letter', deadLetterId: again } });
    expect(sink.putsOf('AGAIN')).toEqual([]);
    await dlq('discard', String(again), '--reason', 'test', '--yes');
    expect(await unresolvedIdsOf(id)).toEqual([]);
  });

  it('of a patient that is gone by now deletes it there', async () => {
    const { database, sink } = scenario;
    const id = await addPatient(database, 'GONE');
    await allProcessed(database);
    // As the server sees it: the same patient, inactive.
    sink.script((body) => (primaryValue(body) === 'GONE' && body.active === false ? 422 : undefined));
    await database.pool.query('DELETE FROM patient WHERE id = $1', [id]);
    await allProcessed(database);
    const [dead] = await unresolvedIdsOf(id);
    refuse('nobody', 422);
    await dlq('replay', String(dead));
    await allProcessed(database);
    expect(sink.putsOf('GONE').map(({ body }) => body.active)).toEqual([true, false]);
    expect(await unresolvedIdsOf(id)).toEqual([]);
  });
});

describe('an outage of the FHIR server', () => {
  async function addPatients(values: readonly string[]): Promise<void> {
    for (const value of values) await addPatient(scenario.database, value);
  }

  async function expectAllDelivered(values: readonly string[], failedBefore: number): Promise<void> {
    const { database, sink, connector } = scenario;
    await allProcessed(database);
    expect(await failed()).toBe(failedBefore);
    for (const value of values) expect(sink.putsOf(value)).toHaveLength(1);
    const { rows } = await database.pool.query(
      'SELECT DISTINCT attempts FROM fhir_outbox WHERE identifier_value = ANY ($1)',
      [values],
    );
    expect(rows).toEqual([{ attempts: 0 }]);
    expect(connector.metrics.breakerState.get()).toBe('flowing');
  }

  it('that answers 503 dead-letters nobody, however many tries it takes, and is over by itself', async () => {
    const { sink } = scenario;
    const [values, failedBefore] = [['BUSY-1', 'BUSY-2', 'BUSY-3'], await failed()];
    let refused = 0;
    sink.script(() => {
      refused += 1;
      return 503;
    });
    await addPatients(values);
    // More than the one retry of this connector allows three patients.
    await expect.poll(async () => refused > 8 || (await failed()) > failedBefore, PATIENCE).toBe(true);
    sink.script(() => undefined);
    expect(await failed()).toBe(failedBefore);
    await expectAllDelivered(values, failedBefore);
  });

  it('that cannot be reached holds all deliveries, and is over by itself', async () => {
    const { sink, connector } = scenario;
    const [values, failedBefore] = [['DOWN-1', 'DOWN-2', 'DOWN-3'], await failed()];
    const unreachable = async () => {
      const { values } = await connector.metrics.callErrors.get();
      return values.find(({ labels }) => labels.code === 'unreachable')?.value;
    };
    await sink.stop();
    await addPatients(values);
    await expect.poll(() => connector.metrics.breakerState.get(), PATIENCE).toBe('outage');
    await expect.poll(unreachable, PATIENCE).toBeGreaterThan(3);
    await sink.resume();
    await expectAllDelivered(values, failedBefore);
  });
});
