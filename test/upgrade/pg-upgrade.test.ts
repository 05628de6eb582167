// pg_upgrade, from the PostgreSQL whose programs are in PG_UPGRADE_FROM to the newer one of PG_UPGRADE_TO: the steps of
// docs/operations.md, with changes that nobody has delivered yet, and others that are made before the connector is there.
import { execFile } from 'node:child_process';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { runCommand } from '../support/command.ts';
import {
  connectorEnvironment,
  type DatabaseTarget,
  type RunningConnector,
  slotOf,
  startConnector,
} from '../support/connector.ts';
import { catchUps, linesWith, streaming } from '../support/connector-state.ts';
import { FhirLedger } from '../support/fhir-ledger.ts';
import { Hospital } from '../support/hospital.ts';
import { unprocessed } from '../support/outbox.ts';
import { migrated, on, startServer } from '../support/servers.ts';
import { ask, run } from '../support/with-client.ts';

const execute = promisify(execFile);

const bin = {
  old: folder('PG_UPGRADE_FROM', process.env.PG_UPGRADE_FROM),
  new: folder('PG_UPGRADE_TO', process.env.PG_UPGRADE_TO),
};
/** pg_upgrade connects by sockets of its own, as a superuser without a password; everybody else as ever. */
const HBA =
  'local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n';

function folder(variable: string, path: string | undefined): string {
  if (!path) throw new Error(`Set ${variable} to the folder with the programs of a PostgreSQL, pg_upgrade among them.`);
  return path;
}

let before: EmbeddedPostgres;
let after: EmbeddedPostgres;
let fhir: FhirLedger;
let connector: RunningConnector;
let onOld: DatabaseTarget;
let onNew: DatabaseTarget;

beforeEach(async () => {
  before = await startServer({}, bin.old);
  after = await startEmbeddedPostgres({ fsync: false, bin: bin.new });
  onOld = await migrated(before, 'hospital');
  onNew = on(after, 'hospital');
  fhir = await FhirLedger.start();
  connector = startConnector(onOld, fhir.url);
  await streaming(connector);
});

afterEach(async () => {
  await connector.stop();
  await fhir.stop();
  await before.stop('immediate');
  await after.stop('immediate');
});

/** The new cluster before it has the old one's roles. */
function newAsItIs(): DatabaseTarget {
  const { host, port, user, password } = after;
  return { name: 'postgres', config: { host, port, user, password, database: 'postgres' } };
}

/** As the account that runs the servers. */
async function program(name: string, ...args: string[]): Promise<string> {
  const { uid, gid } = await stat(after.dataDir);
  const account = process.getuid?.() === 0 ? { uid, gid } : {};
  const { stdout } = await execute(join(bin.new, name), args, { ...account, cwd: after.home });
  return stdout;
}

async function upgrade(): Promise<string> {
  // From 18 on initdb switches checksums on; pg_upgrade wants them as they were.
  const [checksums] = await ask<{ on: boolean }>(newAsItIs(), `SELECT current_setting('data_checksums')::bool AS on`);
  for (const server of [before, after]) {
    await server.pause('fast');
    await writeFile(join(server.dataDir, 'pg_hba.conf'), HBA);
  }
  if (checksums?.on) await program('pg_checksums', '--disable', '--pgdata', after.dataDir);
  const from = ['--old-bindir', bin.old, '--old-datadir', before.dataDir];
  return program(
    'pg_upgrade',
    ...from,
    '--new-bindir',
    bin.new,
    '--new-datadir',
    after.dataDir,
    '--username',
    'postgres',
  );
}

async function versionOf(database: DatabaseTarget): Promise<number> {
  const [row] = await ask<{ version: number }>(
    database,
    `SELECT current_setting('server_version_num')::int / 10000 AS version`,
  );
  return row?.version ?? 0;
}

async function systemOf(database: DatabaseTarget): Promise<string | undefined> {
  const [row] = await ask<{ system: string }>(
    database,
    'SELECT system_identifier::text AS system FROM pg_control_system()',
  );
  return row?.system;
}

/** From 17 on pg_upgrade takes logical slots along: https://www.postgresql.org/docs/17/logical-replication-upgrade.html */
const TAKES_SLOTS = 17;

async function expectNoDrift(): Promise<void> {
  const { status, stdout } = await runCommand(connectorEnvironment(onNew, fhir.url), 'verify');
  expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining('No drift.') });
}

it('a cluster that was upgraded with undelivered changes is caught up; nothing is lost, repeated or out of order', async () => {
  const hospital = new Hospital(50);
  await hospital.open(onOld);
  await hospital.expectDelivered(onOld, fhir);
  // The FHIR server is away: what waits goes along.
  fhir.fault = () => ({ status: 503 });
  await hospital.change(onOld);
  await hospital.passIdentifiersOn(onOld);
  await connector.stop();
  const [version, system] = [await versionOf(onOld), await systemOf(onOld)];
  if (version >= TAKES_SLOTS) {
    // A slot that has not been told everything it does not take along.
    await expect(upgrade()).rejects.toMatchObject({ stdout: expect.stringContaining('invalid_logical_slots.txt') });
    await before.start();
    await after.start();
  }
  await run(onOld, `SELECT pg_drop_replication_slot('${slotOf(onOld)}')`);
  await upgrade();
  await after.start();
  expect(await versionOf(onNew)).toBeGreaterThan(version);
  expect(await systemOf(onNew)).not.toBe(system);
  expect(await unprocessed(onNew)).toBe(150);

  await hospital.change(onNew);
  fhir.fault = undefined;
  const doctor = await runCommand(connectorEnvironment(onNew, fhir.url), 'doctor');
  expect(doctor.stdout).toMatch(/^! Slot: \w+ is gone, and was there; 250 outbox rows wait\.$/m);
  connector = startConnector(onNew, fhir.url);
  await hospital.expectDelivered(onNew, fhir);
  await streaming(connector);
  expect(await catchUps(connector)).toBe(1);
  expect(linesWith(connector, 'Caught up.')).toEqual([expect.objectContaining({ rows: 250 })]);
  expect(linesWith(connector, 'making it anew')).toEqual([expect.objectContaining({ slotState: 'missing' })]);
  await hospital.change(onNew);
  await hospital.expectDelivered(onNew, fhir);
  await expectNoDrift();
});

it('a cluster that was upgraded with all delivered and the slot left as it was is caught up, and the slot gone on with where there is one', async () => {
  const hospital = new Hospital(50);
  await hospital.open(onOld);
  await hospital.expectDelivered(onOld, fhir);
  await connector.stop();
  const version = await versionOf(onOld);
  await upgrade();
  await after.start();
  await hospital.change(onNew);
  connector = startConnector(onNew, fhir.url);
  await hospital.expectDelivered(onNew, fhir);
  await streaming(connector);
  expect(await catchUps(connector)).toBe(1);
  expect(linesWith(connector, 'making it anew')).toHaveLength(version >= TAKES_SLOTS ? 0 : 1);
  await hospital.change(onNew);
  await hospital.expectDelivered(onNew, fhir);
  await expectNoDrift();
  console.log(`pg_upgrade from PostgreSQL ${version} to ${await versionOf(onNew)}.`);
});
