// The FHIR server is another one than before: a backup of itself, or a new one that gives the same ids to other people.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommand } from '../support/command.ts';
import { type RunningConnector, startConnector } from '../support/connector.ts';
import { streaming } from '../support/connector-state.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Body, FhirLedger, tokensOf } from '../support/fhir-ledger.ts';
import { createOperator, type Operator } from '../support/operator.ts';
import { allProcessed } from '../support/outbox.ts';

const PATIENTS = 20;
/** As docs/operations.md has it. */
const FORGET_VERSIONS = 'UPDATE public.fhir_link SET version_id = NULL';

let database: TestDatabase;
let fhir: FhirLedger;
let operator: Operator;
let connector: RunningConnector;

beforeEach(async () => {
  database = await createDatabase();
  fhir = await FhirLedger.start();
  operator = await createOperator(database, fhir.url);
  await start();
  await database.pool.query(
    `INSERT INTO patient (id, identifier_system, identifier_value, phone_number)
     SELECT n, 't', 'mrn' || n, 'first' FROM generate_series(1, $1) AS n`,
    [PATIENTS],
  );
  await allProcessed(database);
});

afterEach(async () => {
  await connector.stop();
  await operator.drop();
  await database.drop();
  await fhir.stop();
});

async function start(): Promise<void> {
  connector = startConnector(database, fhir.url);
  await streaming(connector);
}

/** The first steps, whatever happened to the server. */
async function startAgain(): Promise<void> {
  await connector.stop();
  await database.pool.query(FORGET_VERSIONS);
  await start();
}

const people = () => [...fhir.resources.values()].flatMap(tokensOf).toSorted();
const everyone = Array.from({ length: PATIENTS }, (_, n) => `t|mrn${n + 1}`);

async function verify(...options: string[]): Promise<{ status: number | null; kinds: string[]; repaired: number[] }> {
  const { status, stdout } = await runCommand(operator.environment, 'verify', '--json', ...options);
  const { tables } = JSON.parse(stdout) as { tables: { drift: { kind: string }[]; repaired: number[] }[] };
  const { drift = [], repaired = [] } = tables[0] ?? {};
  return { status, kinds: drift.map(({ kind }) => kind).toSorted(), repaired };
}

async function expectNobodyBlamed(): Promise<void> {
  const { rows } = await database.pool.query('SELECT id FROM fhir_dlq');
  expect(rows).toEqual([]);
  expect(await verify()).toMatchObject({ status: 0, kinds: [] });
}

describe('a FHIR server', () => {
  it('that was restored from a backup has everything again after verify --repair', async () => {
    // Of before the last five came, and of before ten of the others changed.
    const backup = [...fhir.resources].slice(0, 15);
    const changed = backup.slice(0, 10).map(([id]) => id);
    await database.pool.query(
      `UPDATE patient SET phone_number = 'second' FROM fhir_link WHERE source_id = patient.id AND fhir_id = ANY ($1)`,
      [changed],
    );
    await allProcessed(database);
    fhir.lose();
    for (const [id, body] of backup) fhir.write(id, body);

    expect(await verify()).toMatchObject({
      status: 1,
      kinds: [...Array<string>(10).fill('differs'), ...Array<string>(5).fill('missing')],
    });
    await startAgain();
    const { status, repaired } = await verify('--repair');
    expect({ status, repaired: repaired.length }).toEqual({ status: 0, repaired: 15 });
    expect(people()).toEqual(everyone.toSorted());
    await expectNobodyBlamed();
  });

  it('that is empty has everything again after backfill --all', async () => {
    fhir.lose();
    await startAgain();
    const { status, stdout } = await runCommand(operator.environment, 'backfill', '--all');
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: expect.stringContaining(`Emitted ${PATIENTS} of patient.`),
    });
    await allProcessed(database);
    expect(people()).toEqual(everyone.toSorted());
    await expectNobodyBlamed();
  });

  it('that has other people under the same ids and versions keeps them as they are, once the versions are forgotten', async () => {
    const ids = [...fhir.resources.keys()];
    fhir.lose();
    const stranger = (id: string): Body => ({
      resourceType: 'Patient',
      active: true,
      identifier: [{ system: 'urn:theirs', value: id }],
    });
    for (const id of ids) fhir.write(id, stranger(id));

    await startAgain();
    await runCommand(operator.environment, 'backfill', '--all');
    await allProcessed(database);
    for (const id of ids) expect(fhir.resources.get(id)).toEqual(stranger(id));
    expect(people()).toEqual([...everyone, ...ids.map((id) => `urn:theirs|${id}`)].toSorted());
    await expectNobodyBlamed();
  });
});
