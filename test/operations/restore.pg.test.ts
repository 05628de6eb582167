// The database goes back to an earlier moment, and the FHIR server has what came after it: by a base backup and archived WAL,
// which ends on a new timeline; or by files that were copied while the server stood still, which does not.
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { runCommand } from '../support/command.ts';
import {
  connectorEnvironment,
  type DatabaseTarget,
  type RunningConnector,
  startConnector,
} from '../support/connector.ts';
import { catchUps, figureOf, linesWith, streaming } from '../support/connector-state.ts';
import { type Body, FhirLedger, tokensOf } from '../support/fhir-ledger.ts';
import { allProcessed, unprocessed } from '../support/outbox.ts';
import { PATIENCE } from '../support/patience.ts';
import { baseBackup, configure, copyFiles, migrated, putBack, startServer } from '../support/servers.ts';
import { ask, run } from '../support/with-client.ts';

const RESTORE_POINT = 'before the accident';

let server: EmbeddedPostgres;
let database: DatabaseTarget;
let fhir: FhirLedger;
let connector: RunningConnector;
let backup: string;

beforeEach(async () => {
  server = await startServer({
    archive_mode: 'on',
    archive_command: 'mkdir -p ../archive && cp "%p" "../archive/%f"',
  });
  backup = join(server.home, 'backup');
  database = await migrated(server, 'hospital');
  fhir = await FhirLedger.start();
  await start();
  await run(
    database,
    `INSERT INTO patient (id, identifier_system, identifier_value, phone_number)
     SELECT n, 't', 'mrn' || n, 'first' FROM generate_series(1, 12) AS n`,
  );
  await allProcessed(database);
});

afterEach(async () => {
  await connector.stop();
  await fhir.stop();
  await server.stop('immediate');
});

async function start(): Promise<void> {
  connector = startConnector(database, fhir.url);
  await streaming(connector);
}

const change = (patients: number[], phone: string) =>
  run(database, `UPDATE patient SET phone_number = '${phone}' WHERE id IN (${patients.join()})`);

/** What the database will not have any more. Returns the id of the resource that will be nobody's. */
async function changeInVain(): Promise<string> {
  await change([3, 4, 8], 'lost');
  await run(
    database,
    `UPDATE patient SET identifier_value = 'moved' WHERE id = 5;
     DELETE FROM patient WHERE id = 6;
     INSERT INTO patient_other_identifiers (patient_id, identifier_system, identifier_value) VALUES (7, 'card', 'lost');
     INSERT INTO patient (id, identifier_system, identifier_value) VALUES (13, 't', 'lost newcomer')`,
  );
  await allProcessed(database);
  return resourceOf(13);
}

/** What people do after the restore: they go on with a patient, and give the number of the lost one to somebody else. */
async function goOn(): Promise<void> {
  await change([8], 'after');
  await run(database, `INSERT INTO patient (id, identifier_system, identifier_value) VALUES (13, 't', 'newcomer')`);
  await allProcessed(database);
}

async function resourceOf(patient: number): Promise<string> {
  const [link] = await ask<{ fhir_id: string }>(database, 'SELECT fhir_id FROM fhir_link WHERE source_id = $1', [
    patient,
  ]);
  return link?.fhir_id ?? '';
}

interface Result {
  readonly drift: { kind: string; id: number | null; fhirId: string | null }[];
  readonly undecided: number[];
  readonly repaired: number[];
}

async function verify(...options: string[]): Promise<Result & { status: number | null; kinds: string[] }> {
  const environment = connectorEnvironment(database, fhir.url);
  const { status, stdout } = await runCommand(environment, 'verify', '--json', ...options);
  const { tables } = JSON.parse(stdout) as { tables: Result[] };
  const [result] = tables;
  if (!result) throw new Error(`Nothing was verified: ${stdout}`);
  return { status, ...result, kinds: result.drift.map(({ kind, id }) => `${kind} ${id}`) };
}

const phoneOf = (body: Body | null) => (body?.telecom as { value: string }[] | undefined)?.[0]?.value;
const whoIs = (body: Body | null) => `${tokensOf(body)[0]?.replace('t|', '')} ${phoneOf(body)}`;

/** The FHIR server has each patient as the database has it, and the lost newcomer as that one was. */
async function expectTheDatabaseEverywhere(lost: string): Promise<void> {
  const rows = await ask<{ who: string }>(
    database,
    `SELECT concat_ws(' ', identifier_value, coalesce(phone_number, 'undefined')) AS who FROM patient`,
  );
  const active = [...fhir.resources].filter(([, { active }]) => active === true);
  expect(active.map(([, body]) => whoIs(body)).toSorted()).toEqual(
    [...rows.map(({ who }) => who), 'lost newcomer undefined'].toSorted(),
  );
  expect(await ask(database, 'SELECT id FROM fhir_dlq')).toEqual([]);
  expect(await resourceOf(13)).not.toBe(lost);
}

async function foreignEdits(): Promise<number | undefined> {
  const count = await figureOf(connector.metrics.foreignEdits);
  expect(linesWith(connector, 'Somebody else changed the resource')).toHaveLength(count ?? 0);
  return count;
}

describe('a database that was restored to an earlier point in time, behind the FHIR server,', () => {
  it('is caught up; no state is overwritten silently; verify finds what the FHIR server has beyond it, --repair mends it', {
    timeout: 120_000,
  }, async () => {
    await baseBackup(server, backup);
    await change([1], 'before');
    await allProcessed(database);
    // Of these two the moment has the change, and not yet its record.
    const answers = Promise.withResolvers<void>();
    fhir.fault = ({ method }) => (method === 'PUT' ? { delay: answers.promise } : undefined);
    await change([2, 3], 'under way');
    await run(database, `SELECT pg_create_restore_point('${RESTORE_POINT}')`);
    answers.resolve();
    await allProcessed(database);
    const lost = await changeInVain();
    await connector.stop();

    await server.pause('fast');
    await putBack(backup, server);
    const settings = {
      restore_command: `cp "${server.home}/archive/%f" "%p"`,
      recovery_target_name: RESTORE_POINT,
      recovery_target_action: 'promote',
    };
    await configure(server, settings, 'recovery.signal');
    await server.start();
    await expect
      .poll(async () => (await ask<{ r: boolean }>(database, 'SELECT pg_is_in_recovery() AS r'))[0]?.r, PATIENCE)
      .toBe(false);
    expect(await ask(database, `SELECT id FROM patient WHERE phone_number = 'lost' OR id = 13`)).toEqual([]);
    expect(await unprocessed(database)).toBe(2);

    // Nothing is sent yet, and what the database lost can be told already.
    const written = fhir.writes.length;
    expect(await verify()).toMatchObject({
      status: 1,
      kinds: ['differs 4', 'differs 5', 'differs 6', 'differs 7', 'differs 8', 'only-on-server null'],
      undecided: [2, 3],
    });
    expect(fhir.writes).toHaveLength(written);

    await start();
    expect(linesWith(connector, 'making it anew')).toEqual([expect.objectContaining({ slotState: 'missing' })]);
    expect(await catchUps(connector)).toBe(1);
    expect(linesWith(connector, 'Caught up.')).toEqual([expect.objectContaining({ rows: 2 })]);
    expect(await ask(database, 'SELECT timeline FROM fhir_slot')).toEqual([{ timeline: 2 }]);
    await goOn();
    // The state of the second one was there already, and is not sent again.
    expect(
      fhir.writes
        .slice(written)
        .map(({ body }) => whoIs(body))
        .toSorted(),
    ).toEqual(['mrn3 under way', 'mrn8 after', 'newcomer undefined']);
    expect(await foreignEdits()).toBe(2);

    const mended = await verify('--repair');
    expect(mended).toMatchObject({ status: 1, repaired: [4, 5, 6, 7], undecided: [] });
    expect(mended.drift).toMatchObject([{ kind: 'only-on-server', fhirId: lost }]);
    expect(await foreignEdits()).toBe(6);
    await expectTheDatabaseEverywhere(lost);

    // People register the lost one again.
    await run(
      database,
      `INSERT INTO patient (id, identifier_system, identifier_value) VALUES (14, 't', 'lost newcomer')`,
    );
    await allProcessed(database);
    expect(await resourceOf(14)).toBe(lost);
    expect(await verify()).toMatchObject({ status: 0, drift: [] });
  });
});

describe('files of a server that stood still, put back', () => {
  it('go on with the slot that is among them, on the same timeline; verify finds the rest and --repair mends it', async () => {
    await connector.stop();
    await server.pause('fast');
    await copyFiles(server, backup);
    await server.start();
    await start();
    const lost = await changeInVain();
    await connector.stop();

    await server.pause('fast');
    await putBack(backup, server);
    await server.start();
    const written = fhir.writes.length;
    await start();
    expect(linesWith(connector, 'making it anew')).toEqual([]);
    expect(await catchUps(connector)).toBe(0);
    await goOn();
    expect(
      fhir.writes
        .slice(written)
        .map(({ body }) => whoIs(body))
        .toSorted(),
    ).toEqual(['mrn8 after', 'newcomer undefined']);
    const mended = await verify('--repair');
    expect(mended).toMatchObject({ status: 1, repaired: [3, 4, 5, 6, 7], undecided: [] });
    expect(mended.drift).toMatchObject([{ kind: 'only-on-server', fhirId: lost }]);
    expect(await foreignEdits()).toBe(6);
    await expectTheDatabaseEverywhere(lost);
  });

  it('under a connector that has a delivery on its way: it lets go of that one, and sends what got its numbers', async () => {
    await server.pause('fast');
    await copyFiles(server, backup);
    await server.start();
    await expect.poll(() => linesWith(connector, 'Streaming.').length, PATIENCE).toBe(2);
    const answers = Promise.withResolvers<void>();
    let asked = 0;
    fhir.fault = ({ method }) => {
      if (method !== 'PUT') return undefined;
      asked += 1;
      return { delay: answers.promise };
    };
    const numbers = () =>
      ask(database, 'SELECT id, txid, patient_id, patient_revision FROM fhir_outbox ORDER BY id DESC LIMIT 1');
    await change([3], 'lost');
    await expect.poll(() => asked, PATIENCE).toBe(1);
    const lost = await numbers();

    await server.pause('fast');
    await putBack(backup, server);
    await server.start();
    await expect.poll(() => linesWith(connector, 'Streaming.').length, PATIENCE).toBe(3);
    await change([3], 'after');
    expect(await numbers()).toEqual(lost);
    fhir.fault = undefined;
    answers.resolve();
    await allProcessed(database);
    expect(phoneOf(fhir.resources.get(await resourceOf(3)) ?? null)).toBe('after');
    expect(linesWith(connector, 'is behind a position')).toHaveLength(1);
    expect(await verify()).toMatchObject({ status: 0, drift: [] });
  });
});
