// `dlq` as an operator runs it: the real command, by a login in the role fhir_operator and no other.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type CommandResult, runCommand } from '../support/command.ts';
import { connectorEnvironment } from '../support/connector.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

/** In every column of a patient, in the server's words and in the reason of an earlier connector: in no output. */
const CANARY = 'Canarybird';

let database: TestDatabase;
let operator: Record<string, string>;

beforeAll(async () => {
  database = await createDatabase();
  const user = `${database.name}_operator`;
  await database.pool.query(`CREATE ROLE ${user} LOGIN PASSWORD 'not-a-secret' IN ROLE fhir_operator`);
  operator = { ...connectorEnvironment(database, 'http://unused'), DB_USER: user, DB_PASSWORD: 'not-a-secret' };
});

afterAll(async () => {
  await database.pool.query(`DROP ROLE ${database.name}_operator`);
  await database.drop();
});

beforeEach(async () => {
  await database.pool.query('TRUNCATE fhir_dlq, fhir_outbox RESTART IDENTITY');
});

function dlq(...args: string[]): Promise<CommandResult> {
  return runCommand(operator, 'dlq', ...args);
}

/** As the whole of stdout, of a command that ended with 0 or with `status`. */
async function json(args: string[], status = 0): Promise<Record<string, unknown>> {
  const result = await dlq(...args, '--json');
  expect(result).toMatchObject({ status, stderr: '' });
  return JSON.parse(result.stdout);
}

async function addPatient(): Promise<number> {
  const { rows } = await database.pool.query<{ id: number }>(
    `INSERT INTO patient (name_family, name_given, name_text, identifier_value, phone_number, email, address_line, address_city)
     SELECT c, c, c, c || gen_random_uuid(), c, c, c, c FROM (SELECT $1::text AS c) AS canary RETURNING id`,
    [CANARY],
  );
  return rows[0]?.id ?? Number.NaN;
}

/** Dead-letters all events of the patient that are not processed, and returns the ids of the dead letters. */
async function deadLetter(patientId: number, status = 422): Promise<number[]> {
  const outcome = {
    resourceType: 'OperationOutcome',
    issue: [
      {
        severity: 'error',
        code: 'invalid',
        diagnostics: `HAPI-0450: no such thing as ${CANARY}`,
        details: { text: CANARY },
        expression: ['Patient.name[0].family', `Patient.identifier.where(value='${CANARY}')`],
      },
    ],
  };
  const { rows } = await database.pool.query<{ id: number }>(
    `SELECT fhir_move_outbox_to_dlq(id, 'The FHIR server does not accept the resource. (HTTP ' || $2::int || ')', $2::int, $3::jsonb, 2)::int AS id
       FROM fhir_outbox WHERE patient_id = $1 AND NOT processed ORDER BY id`,
    [patientId, status, outcome],
  );
  return rows.map(({ id }) => id);
}

async function deadPatient(): Promise<{ patient: number; id: number }> {
  const patient = await addPatient();
  const [id = Number.NaN] = await deadLetter(patient);
  return { patient, id };
}

async function changeAndFail(patient: number): Promise<number> {
  await database.pool.query('UPDATE patient SET gender = $2 WHERE id = $1', [patient, 'other']);
  const [id = Number.NaN] = await deadLetter(patient, 400);
  return id;
}

async function row(id: number): Promise<Record<string, unknown>> {
  const { rows } = await database.pool.query(
    'SELECT resolution, resolved_at IS NOT NULL AS resolved, resolution_reason, resolved_by, replay_outbox_id::int FROM fhir_dlq WHERE id = $1',
    [id],
  );
  return rows[0];
}

async function waitingEvents() {
  const { rows } = await database.pool.query<{ id: number; patient_id: number; operation: string; gender: string }>(
    `SELECT id::int, patient_id, operation, payload_json ->> 'gender' AS gender FROM fhir_outbox WHERE NOT processed ORDER BY id`,
  );
  return rows;
}

describe('dlq list', () => {
  it('says so when there is nothing', async () => {
    expect(await dlq('list')).toEqual({ status: 0, stdout: 'There are no unresolved dead letters.\n', stderr: '' });
    expect(await json(['list'])).toEqual({
      deadLetters: [],
      total: 0,
      counts: { unresolved: 0, replayed: 0, discarded: 0, superseded: 0 },
      reasons: [],
    });
  });

  it('shows the unresolved ones, the oldest first, in columns, with counts and reasons', async () => {
    const first = await deadPatient();
    const second = await changeAndFail(first.patient);
    const third = await deadPatient();
    await database.pool.query("UPDATE fhir_dlq SET resolved_at = now(), resolution = 'superseded' WHERE id = $1", [
      third.id,
    ]);
    const lines = (await dlq('list')).stdout.split('\n');
    const [header = '', rule, ...rest] = lines;
    expect(header.split(/ {2,}/)).toEqual(['ID', 'Row', 'Event', 'HTTP', 'Attempts', 'Failed', 'Reason']);
    expect(rule).toMatch(/^[─ ]+$/);
    const reason = header.indexOf('Reason');
    expect(rest[0]?.slice(reason)).toBe('The FHIR server does not accept the resource. (HTTP 422)');
    expect(rest[1]?.slice(reason)).toBe('The FHIR server does not accept the resource. (HTTP 400)');
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$/);
    expect(rest.slice(0, 2).map((line) => line.slice(0, reason).trim().split(/ {2,}/))).toEqual([
      [String(first.id), `patient ${first.patient}`, 'insert', '422', '2', time],
      [String(second), `patient ${first.patient}`, 'update', '400', '2', time],
    ]);
    expect(rest.slice(2)).toEqual([
      '',
      '2 unresolved dead letters.',
      '  1 × The FHIR server does not accept the resource. (HTTP 400)',
      '  1 × The FHIR server does not accept the resource. (HTTP 422)',
      'By state: 1 superseded.',
      '',
    ]);
  });

  it('takes a state and a limit', async () => {
    const ids = [(await deadPatient()).id, (await deadPatient()).id, (await deadPatient()).id];
    await database.pool.query("UPDATE fhir_dlq SET resolved_at = now(), resolution = 'superseded' WHERE id = $1", [
      ids[2],
    ]);
    const listed = async (...args: string[]) => {
      const { deadLetters, total } = await json(['list', ...args]);
      return { total, ids: (deadLetters as { id: number }[]).map(({ id }) => id) };
    };
    expect(await listed('--limit', '1')).toEqual({ total: 2, ids: ids.slice(0, 1) });
    expect(await listed('--state', 'superseded')).toEqual({ total: 1, ids: ids.slice(2) });
    expect(await listed('--state', 'all')).toEqual({ total: 3, ids });
    expect((await dlq('list', '--limit', '1')).stdout).toContain(
      'The oldest 1 of 2 unresolved dead letters; --limit shows more.',
    );
    expect((await dlq('list', '--state', 'all')).stdout).toMatch(/State +Reason\n/);
  });
});

describe('dlq show', () => {
  it('tells all about one, with the issues but without what quotes the patient', async () => {
    const { patient, id } = await deadPatient();
    const other = await changeAndFail(patient);
    const shown = await json(['show', String(id)]);
    expect(shown).toMatchObject({
      id,
      state: 'unresolved',
      source: { table: 'patient', id: patient },
      patientId: patient,
      operation: 'insert',
      table: 'patient',
      recordId: patient,
      revision: 1,
      attempts: 2,
      httpStatus: 422,
      outboxId: expect.any(Number),
      txid: expect.any(Number),
      issues: [{ severity: 'error', code: 'invalid', hapi: ['HAPI-0450'], elements: ['Patient.name[0].family'] }],
      replay: null,
      others: [other],
    });
    expect(Object.keys(shown)).not.toContain('payload');
    const { stdout } = await dlq('show', String(id));
    expect(stdout).toContain('Issue        error invalid HAPI-0450 at Patient.name[0].family\n');
    expect(stdout).toContain(`also unresolved of this row: ${other}\n`);
  });

  it.each(['0', '-1', 'x', '1.5', '99999999999999999999'])('refuses %s as an id', async (id) => {
    const { status, stderr } = await dlq('show', '--', id);
    const sentence = `error: command-argument value '${id}' is invalid for argument 'id'. It must be a whole number from 1 to 9007199254740991.`;
    expect({ status, stderr }).toEqual({ status: 1, stderr: `${sentence}\n(--help says what there is)\n` });
  });

  it('says that there is none', async () => {
    const { status, stderr } = await dlq('show', '4711');
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining('There is no dead letter 4711') });
  });
});

describe('dlq replay', () => {
  it('writes one event with the current state for a patient with several dead letters, and keeps who and why', async () => {
    const { patient, id } = await deadPatient();
    const second = await changeAndFail(patient);
    const third = await changeAndFail(patient);
    const bystander = await deadPatient();
    await database.pool.query("UPDATE patient SET gender = 'female' WHERE id = $1", [patient]);
    await database.pool.query('UPDATE fhir_outbox SET processed = true');

    const { status, stdout } = await dlq('replay', String(id), String(second), String(id), '--reason', 'rule mended');
    expect(status).toBe(0);
    expect(stdout).toContain('Replayed 2 dead letters of 1 row');
    expect(stdout).toContain('1 more dead letter of these rows will be superseded');
    const events = await waitingEvents();
    expect(events).toEqual([{ id: expect.any(Number), patient_id: patient, operation: 'U', gender: 'female' }]);
    for (const replayed of [id, second])
      expect(await row(replayed)).toEqual({
        resolution: 'replayed',
        resolved: true,
        resolution_reason: 'rule mended',
        resolved_by: operator.DB_USER,
        replay_outbox_id: events[0]?.id,
      });
    for (const untouched of [third, bystander.id]) expect(await row(untouched)).toMatchObject({ resolved: false });

    expect(await json(['show', String(id)])).toMatchObject({
      state: 'replayed',
      resolvedBy: operator.DB_USER,
      replay: { outboxId: events[0]?.id, state: 'waiting' },
    });
    const [again] = await deadLetter(patient);
    expect((await dlq('show', String(id))).stdout).toContain(`refused again: dead letter ${again}\n`);
  });

  it('replays them all, in several transactions, with a reason only', async () => {
    const patients = 250;
    await database.pool.query(
      `INSERT INTO patient (identifier_value) SELECT 'all' || gen_random_uuid() FROM generate_series(1, ${patients})`,
    );
    await database.pool.query("SELECT fhir_move_outbox_to_dlq(id, 'refused') FROM fhir_outbox");
    expect(await dlq('replay', '--all')).toMatchObject({ status: 1, stderr: expect.stringContaining('--reason') });
    expect(await dlq('replay', '--all', '--reason', ' ')).toMatchObject({ status: 1 });
    expect(await dlq('replay', '--all', '--reason', 'r')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/all 250 unresolved dead letters\? Nobody can be asked here.*add --yes/),
    });
    expect(await waitingEvents()).toEqual([]);
    const { deadLetters } = await json(['replay', '--all', '--reason', 'server mended', '--yes']);
    expect(deadLetters).toHaveLength(patients);
    const events = await waitingEvents();
    expect(new Set(events.map(({ patient_id }) => patient_id)).size).toBe(patients);
    expect(events).toHaveLength(patients);
    const { rows } = await database.pool.query('SELECT DISTINCT txid FROM fhir_outbox WHERE NOT processed');
    expect(rows).toHaveLength(3);
    expect(await dlq('replay', '--all', '--reason', 'r', '--yes')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('no unresolved dead letters'),
    });
  });

  it('says of each id why it was not replayed, replays the others, and ends with 2', async () => {
    const [open, settled, gone] = [await deadPatient(), await deadPatient(), 4711];
    await dlq('discard', String(settled.id), '--reason', 'x', '--yes');
    await database.pool.query(
      "INSERT INTO fhir_dlq (id, table_name, operation, error_text) VALUES (900, 'form', 'I', 'of another program')",
    );
    const ids = [gone, settled.id, open.id, 900].map(String);
    const { deadLetters } = await json(['replay', ...ids], 2);
    expect(deadLetters).toEqual(
      expect.arrayContaining([
        { id: gone, result: 'not found', source: null, outboxId: null },
        { id: settled.id, result: 'resolved', source: { table: 'patient', id: settled.patient }, outboxId: null },
        {
          id: open.id,
          result: 'replayed',
          source: { table: 'patient', id: open.patient },
          outboxId: expect.any(Number),
        },
        { id: 900, result: 'no row', source: null, outboxId: null },
      ]),
    );
    const { status, stdout } = await dlq('replay', ...ids);
    expect(status).toBe(2);
    expect(stdout).toContain('Dead letter 4711 does not exist.\n');
    expect(stdout).toContain(`Dead letter ${open.id} was resolved before.\n`);
    expect(stdout).toContain('Dead letter 900 names no row');
    expect(await waitingEvents()).toHaveLength(1);
  });

  it('changes nothing, and says why, while a transaction that changes the patient stays open', async () => {
    const { patient, id } = await deadPatient();
    const writer = await database.pool.connect();
    try {
      await writer.query("BEGIN; UPDATE patient SET gender = 'male' WHERE id = 0");
      await writer.query(`UPDATE patient SET gender = 'male' WHERE id = ${patient}`);
      expect(await dlq('replay', String(id))).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/still open holds the patient locked.*pg_stat_activity/),
      });
    } finally {
      await writer.query('ROLLBACK');
      writer.release();
    }
    expect(await row(id)).toMatchObject({ resolved: false });
    expect(await waitingEvents()).toEqual([]);
  });

  it.each([
    { what: 'neither ids nor --all', args: ['replay'] },
    { what: 'both', args: ['replay', '1', '--all', '--reason', 'x'] },
  ])('refuses $what', async ({ args }) => {
    expect(await dlq(...args)).toMatchObject({ status: 1, stderr: expect.stringContaining('one of the two') });
  });
});

describe('dlq discard', () => {
  it('marks them with who and why, and sends nothing', async () => {
    const { id } = await deadPatient();
    const { status, stdout } = await dlq('discard', String(id), '4711', '--reason', 'registered twice', '--yes');
    expect({ status, stdout }).toEqual({
      status: 2,
      stdout: 'Discarded 1 dead letter. The FHIR server keeps what it has.\nDead letter 4711 does not exist.\n',
    });
    expect(await row(id)).toEqual({
      resolution: 'discarded',
      resolved: true,
      resolution_reason: 'registered twice',
      resolved_by: operator.DB_USER,
      replay_outbox_id: null,
    });
    expect(await waitingEvents()).toEqual([]);
  });

  it('does nothing without a reason, or where nobody can be asked', async () => {
    const { id } = await deadPatient();
    expect(await dlq('discard', String(id), '--yes')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--reason'),
    });
    expect(await dlq('discard', String(id), '--yes', '--reason', ' ')).toMatchObject({ status: 1 });
    expect(await dlq('discard', String(id), '--reason', 'x')).toMatchObject({
      status: 1,
      stderr: 'Discard this dead letter? Nobody can be asked here, so nothing was done: add --yes to answer yes.\n',
    });
    expect(await row(id)).toMatchObject({ resolved: false });
  });
});

describe('whatever it is asked', () => {
  it('an operator reads no patient and decides by the functions only', async () => {
    const { id } = await deadPatient();
    const client = await database.pool.connect();
    try {
      await client.query(`SET ROLE ${operator.DB_USER}`);
      for (const sql of [
        'SELECT FROM patient',
        'SELECT FROM patient_other_identifiers',
        `UPDATE fhir_dlq SET resolved_by = 'somebody else' WHERE id = ${id}`,
        `UPDATE fhir_dlq SET resolved_at = now(), resolution = 'discarded', resolution_reason = 'x' WHERE id = ${id}`,
        `DELETE FROM fhir_dlq WHERE id = ${id}`,
      ])
        await expect(client.query(sql), sql).rejects.toMatchObject({ code: '42501' });
    } finally {
      client.release(true);
    }
  });

  it('a user without the role is told which one it needs', async () => {
    const user = `${database.name}_nobody`;
    await database.pool.query(`CREATE ROLE ${user} LOGIN PASSWORD 'not-a-secret'`);
    const result = await runCommand({ ...operator, DB_USER: user }, 'dlq', 'list');
    await database.pool.query(`DROP ROLE ${user}`);
    expect(result).toEqual({ status: 1, stdout: '', stderr: expect.stringContaining('GRANT fhir_operator TO') });
  });

  it('a database without the schema is told apart', async () => {
    const empty = await createDatabase('empty');
    const result = await runCommand(connectorEnvironment(empty, 'http://unused'), 'dlq', 'list');
    await empty.drop();
    expect(result).toMatchObject({ status: 1, stderr: expect.stringContaining('npm run connector -- migrate') });
  });

  it('a server that does not answer is not waited for', async () => {
    const result = await runCommand({ ...operator, DB_PORT: '1' }, 'dlq', 'list');
    expect(result).toEqual({
      status: 1,
      stdout: '',
      stderr: 'PostgreSQL does not answer at DB_HOST:DB_PORT yet.\n',
    });
  });

  it('without a command it says which there are', async () => {
    const { status, stderr } = await dlq();
    expect(status).toBe(1);
    for (const command of ['list', 'show', 'replay', 'discard']) expect(stderr).toContain(command);
  });
});
