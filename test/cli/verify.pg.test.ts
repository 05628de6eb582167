// verify, as people run it: drift of each kind, made by hand on either side, is found, named without patients' data, and mended.

import { Kysely, PostgresDialect } from 'kysely';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { createSampler } from '../../src/metrics/sampler.ts';
import { WHOLE } from '../../src/shard.ts';
import { runCommand } from '../support/command.ts';
import { type RunningConnector, spawnConnector, startConnector } from '../support/connector.ts';
import { streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Body, FhirLedger } from '../support/fhir-ledger.ts';
import { createOperator, type Operator, withoutTriggers } from '../support/operator.ts';
import { allProcessed } from '../support/outbox.ts';
import { COUNT_UP } from '../support/patients.ts';

let database: TestDatabase;
let ledger: FhirLedger;
let operator: Operator;
let connector: RunningConnector;

beforeEach(async () => {
  database = await createDatabase();
  ledger = await FhirLedger.start();
  operator = await createOperator(database, ledger.url);
  connector = startConnector(database, ledger.url);
  await streaming(connector);
});

afterEach(async () => {
  await connector.stop();
  await operator.drop();
  await database.drop();
  await ledger.stop();
});

interface Result {
  readonly status: number | null;
  readonly scope: string;
  readonly checked: number;
  readonly same: number;
  readonly deadLettered: number[];
  readonly undecided: number[];
  readonly repaired: number[];
  readonly drift: {
    kind: string;
    id: number | null;
    fhirId: string | null;
    fields: string[];
    reason: string | null;
  }[];
}

/** Of the patients, which are the only ones that are sent here. */
async function verify(...options: string[]): Promise<Result> {
  const { status, stdout } = await runCommand(operator.environment, 'verify', '--json', ...options);
  const { scope, tables } = JSON.parse(stdout);
  expect(tables).toHaveLength(1);
  return { status, scope, ...tables[0] };
}

const query = (sql: string, values: unknown[] = []) => database.pool.query(sql, values);

/** Patients with ids from 1 on, delivered. */
async function delivered(count: number): Promise<void> {
  await query(
    `INSERT INTO patient (name_family, name_given, birth_date, phone_number, identifier_system, identifier_value)
     SELECT 'Canary-Doe', 'Canary-Jane', '1990-01-15', '0', 'urn:mrn', 'CANARY-' || n FROM generate_series(1, $1) AS n`,
    [count],
  );
  await query(
    `INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value)
     SELECT id, 'urn:insurance', 'CANARY-I-' || id FROM patient WHERE id % 3 = 0`,
  );
  await allProcessed(database);
}

async function resourceOf(patient: number): Promise<string> {
  const { rows } = await query("SELECT fhir_id FROM fhir_link WHERE resource_type = 'Patient' AND source_id = $1", [
    patient,
  ]);
  return rows[0].fhir_id;
}

async function edit(patient: number, change: (body: Body) => Body | null): Promise<void> {
  const id = await resourceOf(patient);
  ledger.write(id, change(ledger.resources.get(id) ?? {}));
}

const kinds = ({ drift }: Result) => drift.map(({ kind, id }) => `${kind} ${id}`).toSorted();

describe('verify', () => {
  it("finds no drift where there is none, page by page, and leaves others' patients alone", async () => {
    await delivered(250);
    ledger.write('theirs', {
      resourceType: 'Patient',
      active: true,
      identifier: [{ system: 'urn:other', value: 'CANARY-1' }],
    });
    ledger.write('merged', {
      resourceType: 'Patient',
      active: false,
      identifier: [{ system: 'urn:mrn', value: 'CANARY-1' }],
    });
    await query('DELETE FROM patient_other_identifiers WHERE patient_id = 249; ');
    await query('DELETE FROM patient WHERE id = 250');
    await allProcessed(database);
    expect(await verify()).toMatchObject({
      status: 0,
      scope: 'all',
      checked: 250,
      same: 250,
      drift: [],
      undecided: [],
    });
    const { status, stdout } = await runCommand(operator.environment, 'verify');
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /rows in the database +249\n.*with a resource +249\n.*on the FHIR server, ours and others +252\n/,
    );
    expect(stdout).toContain('No drift.');
  });

  it('finds each kind of drift, mends what the database can mend, and lists the rest', async () => {
    ledger.pageSize = 7;
    await delivered(20);
    ledger.fault = ({ method, body }) => (method === 'PUT' && body?.gender === 'other' ? { status: 422 } : undefined);
    await query("UPDATE patient SET gender = 'other' WHERE id = 12");
    await query('DELETE FROM patient WHERE id = 7');
    await allProcessed(database);

    await edit(1, () => null);
    await edit(2, (body) => ({ ...body, name: [{ family: 'Canary-Edited' }], photo: [{ title: 'CANARY' }] }));
    await withoutTriggers(
      database,
      `UPDATE patient SET phone_number = 'CANARY-1', birth_date = NULL WHERE id = 3;
       UPDATE patient SET identifier_value = 'CANARY-NEW' WHERE id = 4;
       UPDATE patient SET identifier_value = NULL WHERE id = 5;
       DELETE FROM patient WHERE id = 8;
       INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:mrn', 'CANARY-NEVER'), ('urn:mrn', NULL)`,
    );
    await edit(7, (body) => ({ ...body, active: true }));
    const copy = ledger.resources.get(await resourceOf(10));
    ledger.write('second', copy ?? null);
    ledger.write('ghost', { ...copy, identifier: [{ system: 'urn:mrn', value: 'CANARY-LOST' }] });

    const found = await verify();
    expect(found).toMatchObject({ status: 1, deadLettered: [12], repaired: [] });
    const expected = [
      'differs 2',
      'differs 3',
      'differs 4',
      'differs 5',
      'duplicate 10',
      'missing 1',
      'never-sent 21',
      'never-sent 22',
      'not-deleted 8',
      'only-on-server null',
      'reactivated 7',
    ];
    expect(kinds(found)).toEqual(expected);
    const of = (patient: number) => found.drift.find(({ id }) => id === patient);
    expect(of(2)?.fields).toEqual(['name.given', 'name.text', 'name.family', 'photo'].toSorted());
    expect(of(3)?.fields).toEqual(['birthDate', 'telecom.value']);
    expect(of(4)?.fields).toEqual(['identifier.value']);
    expect(of(5)?.reason).toBe('The patient has no identifier: identifier_value is empty.');
    expect(of(10)?.fhirId).toBe('second');
    expect(found.drift.find(({ kind }) => kind === 'only-on-server')?.fhirId).toBe('ghost');

    const left = ['duplicate 10', 'only-on-server null', 'reactivated 7'];
    const mended = await verify('--repair');
    expect(kinds(mended)).toEqual(left);
    expect(mended).toMatchObject({ status: 1, repaired: [1, 2, 3, 4, 8, 21], undecided: [] });
    // What cannot be sent is a dead letter by now, with the reason.
    expect(mended.deadLettered.toSorted((a, b) => a - b)).toEqual([5, 12, 22]);

    // A person decides on the server.
    ledger.write('second', null);
    ledger.write('ghost', null);
    await edit(7, (body) => ({ ...body, active: false }));
    expect(await verify()).toMatchObject({ status: 0, drift: [] });

    // The identifier that was given up where no trigger saw it is free: the link has learned the new one.
    await query("INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:mrn', 'CANARY-4')");
    await allProcessed(database);
    expect(await verify()).toMatchObject({ status: 0, drift: [] });
  });

  it('puts right what a restore to an earlier point lost, and lists what only the server has', async () => {
    await delivered(12);
    const tables = [
      ...['patient', 'patient_other_identifiers', 'fhir_patient_revision', 'fhir_outbox', 'fhir_processed_event'],
      ...['fhir_link', 'fhir_link_identifier', 'fhir_dlq'],
    ];
    await query(
      `CREATE SCHEMA backup; ${tables.map((name) => `CREATE TABLE backup.${name} AS TABLE public.${name}`).join(';')}`,
    );

    await query("UPDATE patient SET phone_number = 'CANARY-later' WHERE id IN (1, 2)");
    await query("UPDATE patient SET identifier_value = 'CANARY-moved' WHERE id = 3");
    await query('DELETE FROM patient WHERE id = 4');
    await query("INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:mrn', 'CANARY-13')");
    await allProcessed(database);
    const lost = await resourceOf(13);
    await connector.stop();
    await withoutTriggers(
      database,
      `TRUNCATE ${tables.join(', ')} CASCADE; ${tables.map((name) => `INSERT INTO public.${name} SELECT * FROM backup.${name}`).join(';')}`,
    );
    connector = startConnector(database, ledger.url);
    await streaming(connector);

    const found = await verify();
    expect(kinds(found)).toEqual(['differs 1', 'differs 2', 'differs 3', 'differs 4', 'only-on-server null']);
    const mended = await verify('--repair');
    expect(mended).toMatchObject({ status: 1, repaired: [1, 2, 3, 4], undecided: [], deadLettered: [] });
    expect(mended.drift).toMatchObject([{ kind: 'only-on-server', fhirId: lost }]);
    for (const id of [1, 2])
      expect(ledger.resources.get(await resourceOf(id))?.telecom).toMatchObject([{ value: '0' }]);
    expect(ledger.resources.get(lost)).toMatchObject({ active: true });
    ledger.write(lost, null);
    expect(await verify()).toMatchObject({ status: 0, drift: [] });
  });

  it('finds every resource of before FHIR_PROFILE was changed, and mends them', async () => {
    await delivered(3);
    await query("INSERT INTO patient (identifier_value) VALUES ('CANARY-9')");
    await allProcessed(database);
    const metas = () => [...ledger.resources.values()].map(({ meta }) => meta);
    const usCore = metas();
    expect(usCore).toMatchObject(Array(4).fill({ profile: [expect.stringMatching(/us-core-patient$/)] }));
    expect(await verify()).toMatchObject({ status: 0 });

    for (const [profile, expected] of [
      ['r4', Array(4).fill(undefined)],
      ['us-core', usCore],
    ] as const) {
      await connector.stop();
      connector = startConnector(database, ledger.url, { profile });
      await streaming(connector);
      operator = { ...operator, environment: { ...operator.environment, FHIR_PROFILE: profile } };
      const found = await verify();
      expect(kinds(found)).toEqual(['differs 1', 'differs 2', 'differs 3', 'differs 4']);
      expect(found.drift.map(({ fields }) => fields)).toEqual([
        ...Array(3).fill(['identifier.type']),
        ['identifier._system', 'identifier.type', 'name'],
      ]);
      expect(await verify('--repair')).toMatchObject({ status: 0, repaired: [1, 2, 3, 4] });
      expect(metas()).toEqual(expected);
    }
  });

  it('takes no change on its way for drift, and waits for it', async () => {
    await delivered(30);
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const reads = new Set<string>();
    const held = await resourceOf(9);
    ledger.fault = ({ method, path }) => {
      if (method === 'GET' && path.startsWith('Patient/')) reads.add(path);
      return method === 'PUT' && path === `Patient/${held}` ? { delay: released } : undefined;
    };
    await query(COUNT_UP, [[9]]);
    const verified = verify();
    await vi.waitUntil(() => reads.size === 29, { timeout: 30_000 });
    expect(reads).not.toContain(`Patient/${held}`);
    release();
    expect(await verified).toMatchObject({ status: 0, checked: 30, same: 30, undecided: [] });
  });

  it('finds no drift while patients are changed, added and deleted all the time', async () => {
    await delivered(200);
    const writers = new AbortController();
    const writing = (async () => {
      for (let turn = 0; !writers.signal.aborted; turn += 1) {
        await query(COUNT_UP, [[1 + ((turn * 7) % 100), 1 + ((turn * 11) % 100)]]);
        await query("INSERT INTO patient (identifier_system, identifier_value) VALUES ('urn:mrn', $1)", [
          `new-${turn}`,
        ]);
        if (turn % 3 === 0) await query('DELETE FROM patient WHERE identifier_value = $1', [`new-${turn - 10}`]);
      }
    })();
    const results = [await verify(), await verify()];
    writers.abort();
    await writing;
    for (const result of results) expect(kinds(result)).toEqual([]);
  });

  it('says that it could not tell, with a status of its own, where nothing is delivered or the server is away', async () => {
    await delivered(3);
    await connector.stop();
    await query(COUNT_UP, [[2]]);
    const waiting = spawnConnector(operator.environment, 'verify');
    const stopped = await verify();
    expect(stopped).toMatchObject({ status: 2, undecided: [2], drift: [] });
    expect(await waiting.exited).toBe(2);
    expect(waiting.log.map(({ msg }) => msg)).toContain('Rows that could not be compared: 1. Does the connector run?');

    ledger.fault = () => ({ status: 503 });
    const refused = await runCommand(operator.environment, 'verify');
    expect(refused).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('The FHIR server could not be compared with:'),
    });
    expect((await runCommand(operator.environment, 'verify', '--sample', 'many')).status).toBe(2);
    expect((await runCommand({ ...operator.environment, DB_PASSWORD: 'wrong' }, 'verify')).status).toBe(2);
    expect((await runCommand(operator.environment, 'verify', '--help')).status).toBe(0);
  });

  it('compares a sample of patients, the same ones for the same seed', async () => {
    await delivered(60);
    let reads: string[] = [];
    ledger.fault = ({ method, path }) => {
      if (method === 'GET' && path.startsWith('Patient/')) reads.push(path);
      return undefined;
    };
    const sampled = async (seed: string): Promise<string[]> => {
      reads = [];
      expect(await verify('--sample', '10', '--seed', seed)).toMatchObject({ status: 0, scope: 'sample', checked: 10 });
      return reads.toSorted();
    };
    const first = await sampled('7');
    expect(new Set(first).size).toBe(10);
    expect(await sampled('7')).toEqual(first);
    expect(await sampled('8')).not.toEqual(first);
  });

  it('leaves its result to the metrics of the connector: a sample without drift does not hide that of all', async () => {
    await delivered(40);
    await edit(1, () => null);
    await verify();
    await verify('--sample', '1', '--seed', '2');
    const metrics = createMetrics();
    const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: database.pool }) });
    const sampler = createSampler(db, 'none', WHOLE, metrics, { info: () => {}, warn: () => {} });
    await sampler.sampleOnce();
    const exposed = await metrics.registry.metrics();
    expect(exposed).toContain('fhir_drift{scope="all",kind="missing"} 1\n');
    expect(exposed).toContain('fhir_drift{scope="all",kind="differs"} 0\n');
    expect(exposed).toContain('fhir_drift{scope="sample",kind="missing"} 0\n');
    await verify('--repair');
    await sampler.sampleOnce();
    expect(await metrics.registry.metrics()).toContain('fhir_drift{scope="all",kind="missing"} 0\n');
    const { values } = await metrics.verifiedAt.get();
    for (const { value } of values) expect(Math.abs(Date.now() / 1000 - value)).toBeLessThan(300);
  });
});
